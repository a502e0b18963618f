"""Intervals, tests, fronts and survival: statistics of plain arrays and data frames."""

ALPHA = 0.05
"""What is less probable than this by chance is called significant."""
