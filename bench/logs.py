"""What the benches log: little, and on whatever stderr is when a line is due, which in a test is not what it was before."""

import sys

import structlog


def only_from(level: int) -> None:
    """Log from `level` (one of `logging`'s) up."""
    wrapper = structlog.make_filtering_bound_logger(level)
    structlog.configure(wrapper_class=wrapper, logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
