"""The one test of the kit: pytest runs it for each requirement that was asked for."""

from typing import Any

from bench.conformance.requirement import Requirement, proofs


def test_requirement(requirement: Requirement, evidence: Any, seen: dict[str, str]) -> None:
    seen[requirement.id] = proofs()[requirement.id](evidence) or ""
