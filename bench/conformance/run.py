"""pytest as the engine: runs the checks of requirements on evidence, and turns what comes of it into verdicts."""

import os
import traceback
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, Protocol

from bench.conformance.requirement import Broken, Judged, NotExecuted, Requirement

ENGINE = Path(__file__).parent / "engine"
LOG_AROUND = 8
LOG_TAIL = 12


class EngineMissing(RuntimeError):
    """pytest is not installed."""


class Evidence(Protocol):
    """What checks look at; `log` are lines for people, of which a Broken names one."""

    log: Sequence[str]


def judge(
    wanted: Sequence[Requirement], evidence: Evidence, judged: Callable[[Judged], None] = lambda each: None
) -> list[Judged]:
    """The verdict on each requirement, in order; `judged` is told of each. Raises EngineMissing."""
    try:
        import pytest
    except ImportError as error:
        raise EngineMissing("pytest runs the checks and is not installed: pip install pytest") from error

    class Kit:
        """The plugin that brings requirements and evidence in, and verdicts out."""

        def __init__(self) -> None:
            self.found: list[Judged] = []
            self.seen: dict[str, str] = {}

        def pytest_generate_tests(self, metafunc: Any) -> None:
            metafunc.parametrize("requirement", wanted, ids=[each.id for each in wanted])

        @pytest.fixture(name="evidence")
        def _evidence(self, requirement: Requirement) -> Any:
            of = getattr(evidence, "of", None)
            return evidence if of is None else of(requirement)

        @pytest.fixture(name="seen")
        def _seen(self) -> dict[str, str]:
            return self.seen

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(self, item: Any, call: Any) -> Generator[None, Any, Any]:
            report = yield
            requirement = item.callspec.params["requirement"]
            error = call.excinfo.value if call.excinfo else None
            if (call.when == "call" or error is not None) and call.when != "teardown":
                verdict = _verdict(requirement, error, self.seen.get(requirement.id, ""), evidence)
                self.found.append(verdict)
                judged(verdict)
            return report

    kit = Kit()
    arguments = [str(ENGINE / "test_requirements.py"), "-c", str(ENGINE / "pytest.toml"), "--rootdir", str(ENGINE)]
    arguments += ["-p", "no:cacheprovider", "-p", "no:terminal", "-p", "no:faulthandler", "--noconftest", "-s"]
    kept = {name: os.environ.pop(name, None) for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_DISABLE_PLUGIN_AUTOLOAD")}
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    try:
        code = pytest.main(arguments, plugins=[kit])
    finally:
        del os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"]
        os.environ.update({name: value for name, value in kept.items() if value is not None})
    if code == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if len(kit.found) != len(wanted):
        raise RuntimeError(f"pytest ended with {code} after {len(kit.found)} of {len(wanted)} requirements")
    return kit.found


def _verdict(requirement: Requirement, error: BaseException | None, seen: str, evidence: Evidence) -> Judged:
    match error:
        case None:
            return Judged(requirement, "pass", f"holds: {seen}" if seen else "holds", seen=seen)
        case Broken():
            reason = f"expected {error.expected}; seen {error.seen}"
            around = _around(evidence.log, error.moment)
            return Judged(
                requirement, "fail", reason, error.expected, error.seen, data=error.data, protocol=error.protocol, log=around
            )
        case NotExecuted():
            return Judged(requirement, "not_executed", error.reason, todo=error.todo)
    last = traceback.extract_tb(error.__traceback__)[-1] if error.__traceback__ else None
    where = f" ({Path(last.filename).name}:{last.lineno})" if last else ""
    reason = f"the kit itself failed: {type(error).__name__}: {error}{where}"
    return Judged(
        requirement, "not_executed", reason, todo="report this with the log", log=_around(evidence.log, None), kit_failed=True
    )


def _around(log: Sequence[str], moment: int | None) -> tuple[str, ...]:
    if moment is None:
        return tuple(log[-LOG_TAIL:])
    return tuple(log[max(0, moment - LOG_AROUND) : moment + LOG_AROUND + 1])
