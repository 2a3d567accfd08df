"""The laboratory's own, by the name that the tests know it by."""

from bench.lab.process import Server, free_port, listens, wait_until

__all__ = ["Server", "free_port", "listens", "wait_until"]
