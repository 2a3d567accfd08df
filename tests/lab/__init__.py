"""Real servers for the tests: each on free ports, in its own folder, ended by who started it."""
