"""Chapter 1: what tuning costs."""
