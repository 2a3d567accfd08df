"""Requirements as data: the TOML tables of `requirements/`, and what a check says of one of them."""

import fnmatch
import importlib
import pkgutil
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

Level = Literal["must", "should"]
Side = Literal["frame", "unit", "gateway", "consumer"]
Verdict = Literal["pass", "fail", "not_executed"]
SIDES: tuple[Side, ...] = ("frame", "unit", "gateway", "consumer")
LEVELS: tuple[Level, ...] = ("must", "should")
TABLES = Path(__file__).parent / "requirements"
CHECKS = "bench.conformance.checks"
"""The package whose modules hold the checks."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One numbered sentence. `side` is whom it binds; `protocol` the wire protocol, or `oneapi`, `vtc`, `consumer`.

    `precondition` names what has to hold for it to be checked, and is not the doing of whom it binds.
    """

    id: str
    sentence: str
    source: str
    level: Level
    side: Side
    protocol: str
    precondition: str = ""


class TableError(ValueError):
    """A table of requirements is not as it should be."""


@cache
def requirements() -> Mapping[str, Requirement]:
    """Every requirement by id, in the order of the tables. Raises TableError."""
    found: dict[str, Requirement] = {}
    for path in sorted(TABLES.glob("*.toml")):
        for each in _table(path):
            if each.id in found:
                raise TableError(f"{path.name}: {each.id} is there twice")
            found[each.id] = each
    return found


def _table(path: Path) -> Iterable[Requirement]:
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    defaults: dict[str, Any] = {name: document.pop(name) for name in ("protocol", "source", "side", "level") if name in document}
    for name, row in document.items():
        facts: dict[str, Any] = {"level": "must", **defaults, **row}
        unknown = facts.keys() - set(Requirement.__slots__)
        if unknown or not {"sentence", "source", "side", "protocol"} <= facts.keys():
            raise TableError(f"{path.name}: {name}: sentence, source, side and protocol are wanted, not {sorted(facts)}")
        if facts["side"] not in SIDES or facts["level"] not in LEVELS:
            raise TableError(f"{path.name}: {name}: side or level is no word of the table")
        yield Requirement(name, **facts)


# Checks ------------------------------------------------------------------------------------------------------------------


class Broken(Exception):
    """The requirement does not hold. `data` are the bytes that show it, `moment` where in the log (None: at its end)."""

    def __init__(self, expected: str, seen: str, data: bytes = b"", *, protocol: str = "", moment: int | None = None) -> None:
        super().__init__(f"expected {expected}; seen {seen}")
        self.expected, self.seen, self.data, self.protocol, self.moment = expected, seen, data, protocol, moment


class NotExecuted(Exception):
    """It could not be judged; `reason` says why, `todo` what to do so that it can be."""

    def __init__(self, reason: str, todo: str) -> None:
        super().__init__(f"{reason}; {todo}")
        self.reason, self.todo = reason, todo


Check = Callable[..., "str | None"]
"""Gets the evidence of its target; returns what was seen, raises Broken or NotExecuted."""

F = TypeVar("F", bound=Callable[..., Any])
_proofs: dict[str, Check] = {}


def proves(*ids: str) -> Callable[[F], F]:
    """The function is the check of these requirements."""

    def registered(check: F) -> F:
        for each in ids:
            if each in _proofs and _proofs[each] is not check:
                raise TableError(f"{each} has two checks: {name_of(_proofs[each])} and {name_of(check)}")
            _proofs[each] = check
        return check

    return registered


@cache
def proofs() -> Mapping[str, Check]:
    """The check of each requirement by its id."""
    package = importlib.import_module(CHECKS)
    for module in pkgutil.walk_packages(package.__path__, f"{CHECKS}."):
        importlib.import_module(module.name)
    return _proofs


def name_of(check: Check) -> str:
    """Where a check stands: `module.function`."""
    return f"{check.__module__.removeprefix(CHECKS + '.')}.{check.__qualname__.replace('.<locals>.check', '')}"


def lint() -> list[str]:
    """What is wrong between requirements and checks: one sentence each."""
    known, checked = requirements(), proofs()
    found = [f"{each}: a requirement that no check proves" for each in known if each not in checked]
    return found + [
        f"{name_of(check)}: a check of {each}, which is no requirement" for each, check in checked.items() if each not in known
    ]


def select(ids: Iterable[Requirement], only: Sequence[str]) -> list[Requirement]:
    """Those that `only` names: ids, globs of ids (`CBX-*`), levels; all of them if it names nothing. Raises ValueError."""
    every = list(ids)
    if not only:
        return every
    words = [word.strip() for each in only for word in each.split(",") if word.strip()]
    levels = {word.lower() for word in words if word.lower() in LEVELS}
    globs = [word.upper() for word in words if word.lower() not in LEVELS]
    for word in globs:
        if not fnmatch.filter(requirements(), word):
            raise ValueError(f"--only {word}: no requirement is called so")
    named = [each for each in every if not globs or any(fnmatch.fnmatchcase(each.id, word) for word in globs)]
    return [each for each in named if not levels or each.level in levels]


# Verdicts ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Judged:
    """A requirement and what came of its check. `reason` is one sentence for people."""

    requirement: Requirement
    verdict: Verdict
    reason: str = ""
    expected: str = ""
    seen: str = ""
    todo: str = ""
    data: bytes = b""
    protocol: str = ""
    log: Sequence[str] = field(default_factory=tuple)
    kit_failed: bool = False

    def document(self) -> dict[str, Any]:
        """As `conform --json` shows it."""
        evidence: dict[str, Any] = {"seen": self.seen}
        if self.verdict == "fail":
            evidence |= {"expected": self.expected, "bytes": self.data.hex(), "log": list(self.log)}
        if self.verdict == "not_executed":
            evidence = {"todo": self.todo}
        each = self.requirement
        return {"id": each.id, "level": each.level, "verdict": self.verdict, "reason": self.reason, "evidence": evidence}
