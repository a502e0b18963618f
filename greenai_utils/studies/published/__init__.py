"""Chapter 4: the authors' own data."""
