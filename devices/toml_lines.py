"""Where in a TOML file a value stands: tomllib reads the values and forgets the lines."""

import re
from collections.abc import Mapping

Path = tuple[str | int, ...]

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r]+)|(?P<comment>\#[^\n]*)|(?P<newline>\n)
    |(?P<string>\"\"\"(?:\\.|[^\\])*?\"\"\"|'''.*?'''|"(?:\\.|[^"\\\n])*"|'[^'\n]*')
    |(?P<mark>\[\[|\]\]|[][{},=.])|(?P<bare>[^\s\#"'\[\]{},=.]+)""",
    re.VERBOSE | re.DOTALL,
)


def lines_of(text: str) -> Mapping[Path, int]:
    """The line (from 1) of every key and list element of a TOML document that tomllib has read, by its path."""
    return _Walk(text).lines


class _Walk:
    """One pass over the tokens of a document that is known to be right."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {}
        self._tokens: list[tuple[str, str, int]] = []
        line = 1
        for found in _TOKEN.finditer(text):
            kind, said = found.lastgroup or "", found.group()
            if kind not in ("space", "comment"):
                self._tokens.append((kind, said, line))
            line += said.count("\n")
        self._at = 0
        self._table: Path = ()
        self._counts: dict[Path, int] = {}
        while self._at < len(self._tokens):
            self._statement()

    def _statement(self) -> None:
        kind, said, line = self._tokens[self._at]
        if kind == "newline":
            self._at += 1
        elif said in ("[", "[["):
            self._header(many=said == "[[", line=line)
        else:
            self._pair(self._table)

    def _header(self, *, many: bool, line: int) -> None:
        self._at += 1
        path: Path = ()
        for name in self._key():
            path += (name,)
            if path in self._counts:
                path += (self._counts[path] - 1,)
        if many:
            if isinstance(path[-1], int):
                path = path[:-1]
            self._counts[path] = self._counts.get(path, 0) + 1
            self.lines.setdefault(path, line)
            path += (self._counts[path] - 1,)
        self.lines.setdefault(path, line)
        self._table = path
        self._at += 1

    def _key(self) -> list[str]:
        names = []
        while self._at < len(self._tokens):
            kind, said, _ = self._tokens[self._at]
            if said in ("=", "]", "]]") or kind == "newline":
                break
            if said != ".":
                names.append(said[1:-1] if kind == "string" else said)
            self._at += 1
        return names

    def _pair(self, table: Path) -> None:
        line = self._tokens[self._at][2]
        path = table
        for name in self._key():
            path += (name,)
            self.lines.setdefault(path, line)
        self._at += 1
        self._value(path)

    def _value(self, path: Path) -> None:
        self._skip()
        if self._at >= len(self._tokens):
            return
        said = self._tokens[self._at][1]
        if said in ("[", "[["):
            self._array(path)
        elif said == "{":
            self._inline(path)
        else:
            while self._at < len(self._tokens) and self._tokens[self._at][0] != "newline":
                if self._tokens[self._at][1] in (",", "]", "]]", "}"):
                    break
                self._at += 1

    def _split(self) -> None:
        """`[[` and `]]` within values are two marks each."""
        kind, said, line = self._tokens[self._at]
        if said in ("[[", "]]"):
            self._tokens[self._at : self._at + 1] = [(kind, said[0], line)] * 2

    def _array(self, path: Path) -> None:
        self._split()
        self._at += 1
        place = 0
        while self._at < len(self._tokens):
            self._skip()
            self._split()
            if self._tokens[self._at][1] == "]":
                self._at += 1
                return
            if self._tokens[self._at][1] == ",":
                self._at += 1
                continue
            self.lines[(*path, place)] = self._tokens[self._at][2]
            self._value((*path, place))
            place += 1

    def _inline(self, path: Path) -> None:
        self._at += 1
        while self._at < len(self._tokens):
            self._skip()
            said = self._tokens[self._at][1]
            if said == "}":
                self._at += 1
                return
            if said == ",":
                self._at += 1
            else:
                self._pair(path)

    def _skip(self) -> None:
        while self._at < len(self._tokens) and self._tokens[self._at][0] == "newline":
            self._at += 1
