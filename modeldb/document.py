"""A data file on its way in: TOML to typed facts, or one ModelError that names the file and the key."""

import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_AT_PATH = re.compile(r" - at `(?:key in )?\$(?P<path>.*)`$")


class ModelError(ValueError):
    """A data file is wrong. `file` is relative to its data folder, `key` is a dotted path in it, empty for the whole file."""

    def __init__(self, file: str, key: str, problem: str) -> None:
        super().__init__(f"{file}: {key}: {problem}" if key else f"{file}: {problem}")
        self.file, self.key, self.problem = file, key, problem


def read(path: Path, file: str) -> dict[str, Any]:
    """The TOML document at `path`. Raises ModelError as `file`."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ModelError(file, "", error.strerror or "cannot be read") from error
    except RecursionError as error:
        raise ModelError(file, "", "nested too deep") from error
    except ValueError as error:  # also what is not UTF-8, and integers of thousands of digits
        raise ModelError(file, "", str(error)) from error


def convert(said: Any, to: type[T], file: str, key: str = "") -> T:
    """`said` as a `to`, strictly. Raises ModelError with the key below `key` where it does not fit."""
    try:
        return msgspec.convert(said, to)
    except msgspec.ValidationError as error:
        problem = str(error)
        found = _AT_PATH.search(problem)
        below = found["path"].lstrip(".") if found else ""
        raise ModelError(file, ".".join(filter(None, (key, below))), _AT_PATH.sub("", problem)) from error


def paths(folder: Path) -> list[Path]:
    """Every TOML file under `folder`, in a fixed order; none if the folder is missing."""
    return sorted(path for path in folder.rglob("*.toml") if path.is_file())
