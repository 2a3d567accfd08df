"""CloudBoxx units."""

import os
from collections.abc import Callable

from bench.conformance.checks.units.played import CONFIG_S, MODULUS, broken, good_command
from bench.conformance.requirement import NotExecuted, proves
from bench.conformance.talk import Answered, Said, UnitTalk
from protocols import envelope
from protocols.cloudboxx import PROTOCOL as CLOUDBOXX
from protocols.codec import Frame


def _sequences(said: list[Said]) -> list[int]:
    return [each.frame.sequence for each in said if each.frame.sequence is not None]


def _configured(talk: UnitTalk) -> int:
    """The unit reports every two seconds from now on; the time in the config frame."""

    def play() -> int:
        talk.up()
        at = talk.wire.now_ms()
        facts = {"driving_interval": CONFIG_S, "parked_interval": CONFIG_S, "heartbeat_interval": 30}
        talk.say(CLOUDBOXX.encode(Frame("config", talk.id, captured_at=at, facts=facts), talk.seal_key), "config", genuine=True)
        talk.wait(0.3)
        return at

    return talk.phase("config", play)


@proves("CBX-UNIT-001")
def says_hello(talk: UnitTalk) -> str:
    said = talk.up()
    if not any(each.frame.kind == "hello" for each in said):
        raise broken(talk, "a hello", ", ".join(each.frame.kind for each in said) or "nothing", said[0] if said else None)
    first = next(each for each in said if each.frame.kind == "hello")
    newer = [
        each
        for each in said
        if each.moment < first.moment and each.frame.sequence is not None and first.frame.sequence is not None
    ]
    if any((each.frame.sequence - first.frame.sequence) % MODULUS < MODULUS // 2 for each in newer):  # type: ignore[operator]
        raise broken(talk, "only frames that waited before the hello", "newer ones", newer[0])
    return "a hello"


@proves("CBX-UNIT-002", "AAP-UNIT-001")
def says_its_state(talk: UnitTalk) -> str:
    said = [each for each in talk.up() if each.frame.kind == "state"]
    if not said:
        raise broken(talk, "a state", f"none within {talk.timing.timeout_s:g} s")
    return f"{len(said)} states"


def _withheld(talk: UnitTalk) -> tuple[Said, list[Said]]:
    """A frame that is not acknowledged, and what came with its sequence later on the same connection."""

    def play() -> tuple[Said, list[Said]]:
        _configured(talk)
        talk.answering = False
        frame = talk.fresh()[0]
        number, begin, line = frame.frame.sequence, talk.frames.index(frame) + 1, len(talk.connections)

        def again() -> list[Said]:
            return [each for each in talk.frames[begin:] if each.frame.sequence == number and each.connection == line]

        talk.serve(again)
        found = again()
        talk.settle(talk.frames[begin - 1 :])
        talk.wait(0.5)
        return frame, found

    return talk.phase("acknowledgements withheld", play)


@proves("CBX-UNIT-003")
def sends_again(talk: UnitTalk) -> str:
    frame, again = _withheld(talk)
    if not again:
        raise broken(talk, "the frame again", f"not within {talk.timing.timeout_s:g} s", frame)
    if again[0].data != frame.data:
        raise broken(talk, f"the same bytes {frame.data.hex()}", "others", again[0])
    return f"after {(again[0].at_ms - frame.at_ms) / 1000:.1f} s"


def _cut_with(talk: UnitTalk, name: str, count: int, meanwhile: Callable[[list[Said]], None]) -> tuple[list[Said], list[Said]]:
    """Frames that are not acknowledged but by what `meanwhile` says, and all that came on the connection after the next cut."""

    def play() -> tuple[list[Said], list[Said]]:
        _configured(talk)
        talk.settle(talk.frames[-64:])
        talk.wait(0.3)
        talk.answering = False
        fresh = talk.fresh(count)
        waiting = list({each.frame.sequence: each for each in fresh}.values())
        meanwhile(waiting)
        talk.wait(0.2)
        begin = talk.reconnected()
        talk.serve(lambda: {*_sequences(waiting)} <= {*_sequences(talk.frames[begin:])}, 2 * CONFIG_S + 1)
        after = talk.frames[begin:]
        talk.answering = True
        talk.settle([*waiting, *after])
        talk.wait(0.5)
        return waiting, after

    return talk.phase(name, play)


def _still_there(talk: UnitTalk, waiting: list[Said], after: list[Said], what: str) -> str:
    there = {each.frame.sequence: each for each in reversed(after)}
    for each in waiting:
        again = there.get(each.frame.sequence)
        if again is None:
            raise broken(talk, f"the frame again on the next connection: {what}", "it did not come", each)
        if again.data != each.data:
            raise broken(talk, f"the same bytes {each.data.hex()}", "others", again)
    return f"{len(waiting)} frames came again"


@proves("CBX-UNIT-005")
def keeps_over_a_cut(talk: UnitTalk) -> str:
    waiting, after = _cut_with(talk, "the line is cut", 2, lambda found: None)
    _still_there(talk, waiting, after, "it was not acknowledged")
    order = [number for number in dict.fromkeys(_sequences(after)) if number in _sequences(waiting)]
    if order != sorted(order, key=lambda number: (number - order[0] + MODULUS // 2) % MODULUS):
        raise broken(talk, "oldest first", str(order))
    return f"{len(waiting)} frames, oldest first"


@proves("CBX-UNIT-004")
def lets_go(talk: UnitTalk) -> str:
    def play() -> tuple[set[int], list[Said]]:
        _configured(talk)
        talk.fresh()
        talk.wait(1.0)
        acknowledged = {number for number in _sequences(talk.frames) if (talk._cumulative or 0) - number >= 0}
        begin = talk.reconnected()
        talk.wait(1.5)
        return acknowledged, talk.frames[begin:]

    acknowledged, after = talk.phase("acknowledged, then cut", play)
    for each in after:
        if each.frame.sequence in acknowledged:
            raise broken(talk, "nothing that was acknowledged", f"sequence {each.frame.sequence} again", each)
    return f"{len(acknowledged)} frames are gone"


@proves("CBX-UNIT-006")
def reads_the_bitmap(talk: UnitTalk) -> str:
    def name_the_second(waiting: list[Said]) -> None:
        numbers = sorted(_sequences(waiting))
        talk.ack((numbers[0] - 1) % MODULUS, 1 << (numbers[1] - numbers[0]))

    waiting, after = _cut_with(talk, "an Ack by bitmap", 3, name_the_second)
    numbers, there = sorted(_sequences(waiting)), set(_sequences(after))
    if numbers[1] in there:
        raise broken(talk, f"sequence {numbers[1]}, which the bitmap named, gone", "it came again")
    rest = [each for each in waiting if each.frame.sequence != numbers[1]]
    return _still_there(talk, rest, after, "the bitmap did not name it")


@proves("CBX-UNIT-007")
def checks_who_acknowledges(talk: UnitTalk) -> str:
    def forge(waiting: list[Said]) -> None:
        last = max(_sequences(waiting))
        talk.ack(last, key=bytes(32))
        other = f"{int(talk.id, 16) ^ 1:016X}"
        talk.ack(last, unit=other)

    waiting, after = _cut_with(talk, "a forged Ack", 1, forge)
    return _still_there(talk, waiting, after, "the Ack was forged")


@proves("CBX-UNIT-008")
def checks_what_is_acknowledged(talk: UnitTalk) -> str:
    waiting, after = _cut_with(
        talk, "an Ack of the future", 1, lambda found: talk.ack((max(_sequences(found)) + 100_000) % MODULUS)
    )
    return _still_there(talk, waiting, after, "the Ack was of what it never sent")


@proves("CBX-UNIT-009", "AAP-UNIT-006")
def passes_over_garbage(talk: UnitTalk) -> str:
    def play() -> Answered:
        talk.up()
        request = talk.request("request-vehicle-state")
        sealed = envelope.close(request, talk.id, talk.command_key[1])
        good = talk.protocol.carry(talk.id, sealed, talk.wire.now_ms(), talk.seal_key)
        talk.say(good[:-1] + bytes([good[-1] ^ 1]), "a damaged command")
        talk.say(b"\xcb\x01" + os.urandom(40), "garbage")
        moment = talk.say(b"\xfe\xed" + good if talk.protocol.name == "cloudboxx" else good, "garbage and a command behind it")
        return talk.answer(Answered(request, sealed, moment=moment))

    asked = talk.phase("garbage", play)
    if asked.response is None:
        raise broken(talk, "the command behind the garbage obeyed", "no answer", moment=asked.moment)
    return "obeyed"


def _interval(talk: UnitTalk, name: str) -> list[Said]:
    def play() -> list[Said]:
        begin = len(talk.frames)
        talk.wait(3.2 * CONFIG_S + min(talk.timing.tolerance_s, 2.0))
        return [each for each in talk.frames[begin:] if each.frame.kind == "state"]

    return talk.phase(name, play)


@proves("CBX-UNIT-010")
def obeys_a_config(talk: UnitTalk) -> str:
    _configured(talk)
    states = _interval(talk, "reporting at the configured interval")
    if len(states) < 3:
        raise broken(talk, f"a state every {CONFIG_S} s", f"{len(states)} in {3.2 * CONFIG_S:.0f} s and more")
    return f"{len(states)} states"


@proves("CBX-UNIT-011")
def ignores_an_old_config(talk: UnitTalk) -> str:
    def play() -> list[Said]:
        at = _configured(talk) - 60_000
        facts = {"driving_interval": 3600, "parked_interval": 3600, "heartbeat_interval": 3600}
        talk.say(CLOUDBOXX.encode(Frame("config", talk.id, captured_at=at, facts=facts), talk.seal_key), "an older config")
        begin = len(talk.frames)
        talk.wait(2.2 * CONFIG_S + min(talk.timing.tolerance_s, 2.0))
        return [each for each in talk.frames[begin:] if each.frame.kind == "state"]

    states = talk.phase("an older config", play)
    if len(states) < 2:
        raise broken(talk, f"a state every {CONFIG_S} s as before", f"{len(states)} after the older config")
    return f"{len(states)} states"


def power_cycled(talk: UnitTalk) -> tuple[list[Said], list[Said], int]:
    """Frames not acknowledged when the power went, and those on the connection after it; the highest sequence before."""

    def play() -> tuple[list[Said], list[Said], int]:
        talk.up()
        if talk.protocol.name == "cloudboxx":
            _configured(talk)
        talk.answering = False
        waiting = talk.fresh()
        highest = max(_sequences(talk.frames), default=0)
        before = len(talk.connections)
        talk.wire.power_cycle()
        if not talk.serve(lambda: len(talk.connections) > before):
            raise NotExecuted("the unit did not come back after the power was off", "give --timeout")
        begin = next((place for place, each in enumerate(talk.frames) if each.connection > before), len(talk.frames))
        talk.answering = True
        talk.serve(lambda: any(each.frame.kind in ("hello", "state") for each in talk.frames[begin:]))
        talk.wait(1.0)
        return waiting, talk.frames[begin:], highest

    return talk.phase("the power is off and on", play)


@proves("CBX-UNIT-012")
def counts_on(talk: UnitTalk) -> str:
    _waiting, after, highest = power_cycled(talk)
    known = {each.frame.sequence: each.data for each in talk.frames if each not in after}
    for each in after:
        number = each.frame.sequence
        if number is None:
            continue
        behind = (number - highest) % MODULUS >= MODULUS // 2 or number == highest
        if behind and known.get(number) != each.data:
            raise broken(talk, f"new frames above sequence {highest}", f"another frame under {number}", each)
    if not any(
        each.frame.sequence is not None and 0 < (each.frame.sequence - highest) % MODULUS < MODULUS // 2 for each in after
    ):
        raise NotExecuted("the unit said nothing new after the power was off", "give --timeout")
    return f"on from {highest}"


@proves("CBX-UNIT-013")
def keeps_over_a_power_cut(talk: UnitTalk) -> str:
    waiting, after, _ = power_cycled(talk)
    return _still_there(talk, waiting, after, "the power was off")


@proves("CBX-UNIT-014")
def result_and_state_together(talk: UnitTalk) -> str:
    asked = good_command(talk)
    result = next(each for each in talk.frames if each.moment == asked.moment and each.frame.kind == "result")
    if not any(each.frame.kind == "state" for each in asked.behind):
        raise broken(talk, "the state behind the result in one payload", "no state", result)
    return "one payload"


def _clock(talk: UnitTalk) -> str:
    talk.up()
    off_s = talk.clock_ms / 1000
    if not any(each.frame.captured_at is not None for each in talk.frames):
        raise NotExecuted("the unit said no time", "have it report")
    if abs(off_s) > talk.timing.tolerance_s:
        raise broken(talk, f"a clock within {talk.timing.tolerance_s:g} s", f"{off_s:+.1f} s", talk.frames[0])
    return f"{off_s:+.1f} s"


proves("CBX-UNIT-015", "AAP-UNIT-007", "GBT-UNIT-007")(_clock)


@proves("CBX-UNIT-016")
def ignores_reflections(talk: UnitTalk) -> str:
    def play() -> tuple[Answered, list[Said]]:
        talk.up()
        talk.wait(0.3)
        begin = len(talk.frames)
        state = next(each for each in reversed(talk.frames) if each.frame.kind == "state")
        talk.say(state.data, "its own state, sent back")
        talk.wait(0.5)
        said = [each for each in talk.frames[begin:] if each.frame.kind == "result"]
        return talk.do("request-vehicle-state"), said

    asked, said = talk.phase("a reflection", play)
    if said:
        raise broken(talk, "silence", "a result", said[0])
    if asked.response is None:
        raise broken(talk, "the unit as before", "no answer to the next command")
    return "ignored"
