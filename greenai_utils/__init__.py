"""What tuning and training a neural network costs in joules: measurement, models, search and analysis."""
