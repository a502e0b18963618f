"""What a block of code costs: the meter, the counters behind it, and the state of the machine meanwhile."""
