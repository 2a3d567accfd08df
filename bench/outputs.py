"""Files that a long run's result is to be written to."""

from pathlib import Path


def writable(*paths: Path | None) -> None:
    """See that each of these files can be written, before a run whose result it is to hold. Raises OSError; leaves no trace."""
    for path in paths:
        if path is not None:
            new = not path.exists()
            path.open("ab").close()
            if new:
                path.unlink()
