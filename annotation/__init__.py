"""The studio around the model: screens for talking and rating, the store of what people said, its analysis and exports."""
