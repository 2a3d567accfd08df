"""One expectation of a scenario, judged."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Check:
    """`name` was to be `expected` and was `seen`. `line` is the file's, `at_s` the second of the run to which it belongs."""

    name: str
    ok: bool
    expected: str
    seen: str
    line: int = 0
    at_s: float | None = None

    @property
    def text(self) -> str:
        """For people."""
        when = "" if self.at_s is None else f" at {self.at_s:.1f} s"
        where = f"line {self.line}: " if self.line else ""
        return f"{where}{self.name}{when}: expected {self.expected}, seen {self.seen}"

    def document(self) -> dict[str, Any]:
        """As an objective of `--json`."""
        return {
            "text": f"{self.name}: {self.expected}",
            "ok": self.ok,
            "value": self.seen,
            "line": self.line or None,
            "at_s": self.at_s,
        }
