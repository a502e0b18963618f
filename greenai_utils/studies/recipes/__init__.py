"""Chapter 5: recipes for greener training."""
