"""What vehicles mean: a unit's signals to vehicle state, and commands to signals."""
