"""Chapter 6: which claims survive."""
