"""Intervals, tests, fronts and survival: statistics of plain arrays and data frames."""
