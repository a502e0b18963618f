"""What tuning and training a neural network costs in joules: measurement, models, search and analysis."""

__version__ = "0.2.0"
