"""Chapter 2: what layers cost."""
