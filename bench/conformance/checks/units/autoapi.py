"""AutoAPI units."""

from dataclasses import replace

from bench.conformance.checks.units.commands import Locks, tried
from bench.conformance.checks.units.played import broken
from bench.conformance.requirement import NotExecuted, proves
from bench.conformance.talk import Answered, Said, UnitTalk, record_of


@proves("AAP-UNIT-002")
def names_vin_and_time(talk: UnitTalk) -> str:
    states = [each for each in talk.up() if each.frame.kind == "state"]
    if not states:
        raise NotExecuted("the unit said no state", "see AAP-UNIT-001")
    if not any(each.frame.unit == talk.id for each in states) or any(each.frame.captured_at is None for each in states):
        raise broken(talk, f"VIN {talk.id} and a time", f"{states[0].frame.unit}, {states[0].frame.captured_at}", states[0])
    return talk.id


@proves("AAP-UNIT-004")
def wants_an_envelope(talk: UnitTalk) -> str:
    def play(locks: Locks) -> list[Answered]:
        from protocols.autoapi_commands import native

        moment = talk.say(native("unlock-central-lock"), "an unlock without an envelope")
        return [Answered(replace(talk.request("unlock-central-lock"), counter=0), b"", moment=moment)]

    tried(talk, "a setter without an envelope", play)
    return "LOCKED as before"


@proves("AAP-UNIT-005")
def reports_again(talk: UnitTalk) -> str:
    def play() -> list[Said]:
        talk.up()
        return talk.fresh(2)

    found = talk.phase("two more states", play)
    times = [each.frame.captured_at or 0 for each in found]
    if times != sorted(times) or times[0] == times[-1]:
        raise broken(talk, "later times", str(times), found[-1])
    return f"after {(times[-1] - times[0]) / 1000:.1f} s"


__all__ = ["record_of"]
