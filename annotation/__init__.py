"""The studio around the model: screens for talking, and later for rating, storing and exporting."""
