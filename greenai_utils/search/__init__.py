"""Strategies that choose the next configuration from the trials told so far."""
