"""The lock files hold what pyproject.toml asks for, and nothing that only one machine knows."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RUN = PROJECT["dependencies"]
DEVELOPMENT = [*RUN, *PROJECT["optional-dependencies"]["dev"], *PROJECT["optional-dependencies"]["postgres"]]


def pins(lock: str) -> dict[str, list[str]]:
    """Package -> locked versions: one for each platform or Python that needs its own."""
    found: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE):
        found.setdefault(canonicalize_name(name), []).append(version)
    return found


@pytest.mark.parametrize(("lock", "wanted"), [("requirements.lock", RUN), ("requirements-dev.lock", DEVELOPMENT)])
def test_every_dependency_is_locked_within_its_bounds(lock: str, wanted: list[str]) -> None:
    locked = pins(lock)
    for text in wanted:
        requirement = Requirement(text)
        versions = locked.get(canonicalize_name(requirement.name), [])
        assert versions, f"{requirement.name} is not in {lock}: run `make lock`"
        assert all(requirement.specifier.contains(version) for version in versions), f"{text}: {versions}"


def test_both_locks_name_the_same_versions() -> None:
    development = pins("requirements-dev.lock")
    assert all(development.get(name) == versions for name, versions in pins("requirements.lock").items())


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_locks_have_hashes_and_name_no_index(lock: str) -> None:
    text = (ROOT / lock).read_text()
    entries = re.split(r"\n(?=\S)", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).strip())
    assert all("--hash=sha256:" in entry for entry in entries)
    assert not re.search(r"^--|://|@ file", text, re.MULTILINE)
