"""Profiles, records and where they come from."""
