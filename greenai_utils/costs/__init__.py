"""Where the joules of a training step go, and what a training will cost."""
