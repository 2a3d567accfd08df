"""`python -m bench.conformance.vectors [FOLDER]`: make the vector files; without a folder tests/vectors/generated."""

import sys
from pathlib import Path

from bench.conformance.vectors import documents


def main() -> int:
    """Write every file; exit code 0."""
    if sys.argv[1:2] in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "tests/vectors/generated")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in documents():
        (folder / name).write_text(text, encoding="utf-8")
        print(f"{folder / name}: {len(text)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
