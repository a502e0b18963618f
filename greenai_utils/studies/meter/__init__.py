"""Chapter 0: what the meter can tell."""
