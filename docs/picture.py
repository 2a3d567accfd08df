"""A terminal picture for the README: `teleloop run ... | python docs/picture.py docs/teleloop-run.svg`."""

import sys

from rich.console import Console
from rich.text import Text

TITLE = "make run"
COLUMNS = 112


def main(path: str) -> None:
    """Draw what comes on stdin into an SVG file."""
    console = Console(record=True, width=COLUMNS, file=sys.stderr, force_terminal=True, highlight=False)
    for line in sys.stdin:
        text = Text(line.rstrip("\n"))
        text.highlight_regex(r"\w+Changed", "bold green")
        text.highlight_regex(r"VehicleStateRecorded", "dim")
        text.highlight_regex(r"http\S+|mqtt\S+", "cyan")
        console.print(text, soft_wrap=False, overflow="crop", no_wrap=True)
    console.save_svg(path, title=TITLE)


if __name__ == "__main__":
    main(sys.argv[1])
