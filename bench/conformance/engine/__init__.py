"""What pytest runs: one test, once for each requirement."""
