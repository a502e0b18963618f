"""Chapter 3: accuracy against energy."""
