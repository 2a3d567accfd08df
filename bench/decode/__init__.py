"""How fast frames are decoded: ours beside what else there is, in one process, by thread CPU time."""
