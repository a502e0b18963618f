"""Networks and data: specifications, builders, counts of their operations, and data sets with their fixed splits."""
