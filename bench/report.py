"""placeholder"""

from pathlib import Path
from bench.results import Result


def write_html(path: Path, result: Result) -> None: ...
