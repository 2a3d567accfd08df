"""Reading a table of a scenario: each value by its kind, each mistake with its line."""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from devices.toml_lines import Path
from modeldb.vocabulary import LARGEST

T = TypeVar("T")

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")
_SCALE = (86_400.0, 3_600.0, 60.0, 1.0)


def seconds(said: Any) -> float:
    """`90`, `"2m"`, `"1h30m"`, `"3d"` as seconds. Raises ValueError, also for a negative time."""
    if isinstance(said, int | float) and not isinstance(said, bool) and abs(said) <= LARGEST:
        if said < 0:
            raise ValueError(f"a time is not negative: {said!r}")
        return float(said)
    found = _DURATION.fullmatch(said.replace(" ", "")) if isinstance(said, str) and said else None
    if found is None or not any(found.groups()):
        raise ValueError(f"a time is a number of seconds, or like `2m`, `1h30m`, `3d`, not {said!r}")
    return sum(float(part) * scale for part, scale in zip(found.groups(), _SCALE, strict=True) if part)


def is_number(said: Any) -> bool:
    """Whether it is a finite number; true and false are none."""
    return isinstance(said, int | float) and not isinstance(said, bool) and abs(said) <= LARGEST


def is_place(said: Any) -> bool:
    """Whether it is [latitude, longitude] in degrees."""
    pair = isinstance(said, list) and len(said) == 2 and all(map(is_number, said))
    return pair and abs(said[0]) <= 90 and abs(said[1]) <= 180


class Problems:
    """What is wrong with a file, each with its line."""

    def __init__(self, where: str, lines: Mapping[Path, int]) -> None:
        self._where, self._lines = where, lines
        self.found: list[str] = []

    def line(self, path: Path) -> int:
        """Where `path` stands, or the nearest thing around it."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def add(self, line: int, text: str) -> None:
        """Note one; the same one once."""
        problem = f"{self._where}:{line}: {text}"
        if problem not in self.found:
            self.found.append(problem)


class Reader:
    """One table, at `path` of the document."""

    def __init__(self, table: Mapping[str, Any], path: Path, problems: Problems) -> None:
        self.table_, self._path, self.problems = table, path, problems

    def __contains__(self, key: str) -> bool:
        return key in self.table_

    def __getitem__(self, key: str) -> Any:
        return self.table_[key]

    def get(self, key: str) -> Any:
        """The value as it is, None if it is not there."""
        return self.table_.get(key)

    @property
    def line(self) -> int:
        """Where the table stands."""
        return self.problems.line(self._path)

    def line_of(self, *keys: str | int) -> int:
        """Where something in it stands."""
        return self.problems.line((*self._path, *keys))

    def wrong(self, text: str, *keys: str | int) -> None:
        """Something is wrong here, or with what `keys` lead to."""
        self.problems.add(self.line_of(*keys), text)

    def only(self, *known: str) -> None:
        """Every other key is a mistake."""
        for key in self.table_:
            if key not in known:
                near = [each for each in known if each[:3] == key[:3]]
                hint = f"; perhaps {near[0]}" if near else f"; there are {', '.join(known)}"
                self.wrong(f"nothing is called {key!r} here{hint}", key)

    def take(self, key: str, usual: T, read: Callable[[Any], T]) -> T:
        """What `read` makes of a value; the usual one if it is not there or wrong."""
        if key not in self.table_:
            return usual
        try:
            return read(self.table_[key])
        except ValueError as error:
            self.wrong(f"{key}: {error}", key)
            return usual

    def item(self, key: str, place: int, read: Callable[[Any], T]) -> T | None:
        """What `read` makes of an element of a list."""
        try:
            return read(str(self.table_[key][place]))
        except ValueError as error:
            self.wrong(str(error), key, place)
            return None

    def length(self, key: str) -> int:
        """How many elements a list has; 0 where there is none."""
        value = self.table_.get(key, [])
        if not isinstance(value, list):
            self.wrong(f"{key} is a list", key)
            return 0
        return len(value)

    def text(self, key: str, usual: str) -> str:
        """A string."""
        value = self.table_.get(key, usual)
        if not isinstance(value, str):
            self.wrong(f"{key} is a text, not {value!r}", key)
            return usual
        return value

    def flag(self, key: str, usual: bool) -> bool:
        """True or false."""
        value = self.table_.get(key, usual)
        if not isinstance(value, bool):
            self.wrong(f"{key} is true or false, not {value!r}", key)
            return usual
        return value

    def whole(self, key: str, usual: int, *, least: int | None) -> int:
        """A whole number."""
        value = self.table_.get(key, usual)
        if not isinstance(value, int) or isinstance(value, bool) or (least is not None and value < least):
            bound = "" if least is None else f" not below {least}"
            self.wrong(f"{key} is a whole number{bound}, not {value!r}", key)
            return usual
        return value

    def number(self, key: str, usual: float, *, least: float | None = None) -> float:
        """A number."""
        value = self.table_.get(key, usual)
        if not is_number(value) or (least is not None and value < least):
            self.wrong(f"{key} is a number" + ("" if least is None else f" not below {least:g}") + f", not {value!r}", key)
            return usual
        return float(value)

    def seconds(self, key: str, usual: float, *, least: float = 0.0) -> float:
        """A time."""
        value = self.take(key, usual, seconds)
        if value < least:
            self.wrong(f"{key} is {least:g} s or more", key)
            return usual
        return value

    def table(self, key: str) -> "Reader":
        """A table in it."""
        value = self.table_.get(key, {})
        if not isinstance(value, dict):
            self.wrong(f"{key} is a table", key)
            value = {}
        return Reader(value, (*self._path, key), self.problems)

    def each(self, key: str, read: Callable[["Reader"], T]) -> list[T]:
        """Each table of a list; a single table is a list of one."""
        value = self.table_.get(key, [])
        if isinstance(value, dict):
            return [read(self.table(key))]
        if not isinstance(value, list):
            self.wrong(f"{key} is a list of tables", key)
            return []
        found = []
        for place, each in enumerate(value):
            if isinstance(each, dict):
                found.append(read(Reader(each, (*self._path, key, place), self.problems)))
            else:
                self.wrong(f"{key} is a list of tables, not of {each!r}", key, place)
        return found
