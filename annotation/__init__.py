"""The studio around the model: pages for talking and rating, the store of what people said, analysis and exports."""
