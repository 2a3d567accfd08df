"""What the checks of units share."""

from bench.conformance.requirement import Broken
from bench.conformance.talk import Answered, Said, UnitTalk

MODULUS = 1 << 32

CONFIG_S = 2
"""The interval that the kit configures: short, so that a run is."""


def broken(talk: UnitTalk, expected: str, seen: str, said: Said | None = None, moment: int | None = None) -> Broken:
    at = said.moment if said is not None else moment
    return Broken(expected, seen, said.data if said is not None else b"", protocol=talk.protocol.name, moment=at)


def good_command(talk: UnitTalk) -> Answered:
    def play() -> Answered:
        talk.up()
        return talk.do("request-vehicle-state")

    asked = talk.phase("a good command", play)
    if asked.response is None:
        raise broken(talk, "an authentic response", f"none within {talk.timing.timeout_s:g} s", moment=asked.moment)
    return asked
