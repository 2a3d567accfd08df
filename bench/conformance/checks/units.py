"""The checks of units: what a unit does when the kit is its gateway."""

import os
from collections.abc import Callable
from dataclasses import replace

from bench.conformance.requirement import Broken, NotExecuted, proves
from bench.conformance.talk import LIFETIME_LIMIT_S, Algorithm, Answered, Said, UnitTalk, is_realtime, is_reissue, record_of
from protocols import envelope
from protocols.cloudboxx import PROTOCOL as CLOUDBOXX
from protocols.codec import Frame
from protocols.envelope import Result, Type
from protocols.gbt32960 import ENVELOPE_CONTROL
from protocols.teltonika import LOGIN_REJECTED

MODULUS = 1 << 32
CONFIG_S = 2
"""The interval that the kit configures: short, so that a run is."""


def _broken(talk: UnitTalk, expected: str, seen: str, said: Said | None = None, moment: int | None = None) -> Broken:
    at = said.moment if said is not None else moment
    return Broken(expected, seen, said.data if said is not None else b"", protocol=talk.protocol.name, moment=at)


# The MQTT session --------------------------------------------------------------------------------------------------------


def _session(talk: UnitTalk) -> None:
    if not talk.wire.sees_session:
        raise NotExecuted(
            "the kit does not see the unit's MQTT packets on this line", "let the unit connect to the kit: --listen"
        )
    talk.up()


@proves("CBX-LINK-001")
def names_itself(talk: UnitTalk) -> str:
    _session(talk)
    for heard in talk.connections:
        assert heard.connect is not None
        if (heard.connect.client_id, heard.connect.user_name) != (str(talk.unit), str(talk.unit)):
            raise _broken(
                talk, f"client id and user name {talk.unit}", f"{heard.connect.client_id} and {heard.connect.user_name}"
            )
    return str(talk.unit)


@proves("CBX-LINK-002")
def keeps_its_session(talk: UnitTalk) -> str:
    _session(talk)
    for heard in talk.connections:
        if heard.connect is not None and heard.connect.clean_session:
            raise _broken(talk, "clean session 0", "clean session 1")
    return f"{len(talk.connections)} connections"


@proves("CBX-LINK-003")
def has_a_will(talk: UnitTalk) -> str:
    _session(talk)
    wanted = (f"v1/{talk.unit}/presence", b"offline", 1, True)
    for heard in talk.connections:
        if heard.connect is not None and heard.connect.will != wanted:
            raise _broken(talk, f"the will {wanted}", str(heard.connect.will))
    return str(wanted)


@proves("CBX-LINK-004")
def listens_to_its_own(talk: UnitTalk) -> str:
    _session(talk)
    found = [heard.filters for heard in talk.wire.heard if heard.what == "subscribe"]
    for filters in found:
        for topic, qos in filters:
            if topic != f"v1/{talk.unit}/down" or qos != 1:
                raise _broken(talk, f"v1/{talk.unit}/down at QoS 1", f"{topic} at QoS {qos}")
    if not found:
        raise _broken(talk, f"a subscription to v1/{talk.unit}/down", "none")
    return f"{len(found)} subscriptions"


@proves("CBX-LINK-005")
def says_online(talk: UnitTalk) -> str:
    if not talk.wire.sees_presence:
        raise NotExecuted("the kit does not see MQTT messages on this line", "use --listen or --broker")
    talk.up()
    said = [heard for heard in talk.wire.heard if heard.what == "presence" and heard.payload == b"online"]
    if not said:
        raise _broken(talk, f"`online` on v1/{talk.unit}/presence", "nothing")
    if talk.wire.sees_session and any(heard.publish is not None and not heard.publish.retain for heard in said):
        raise _broken(talk, "retained", "not retained")
    return f"{len(said)} times"


@proves("CBX-LINK-006")
def publishes_at_qos_1(talk: UnitTalk) -> str:
    _session(talk)
    for heard in talk.wire.heard:
        publish = heard.publish
        if heard.what == "other" and publish is not None:
            raise _broken(talk, f"v1/{talk.unit}/up", publish.topic)
        if heard.what == "payload" and publish is not None and publish.qos != 1:
            raise _broken(talk, "QoS 1", f"QoS {publish.qos}")
    return "every payload"


# CloudBoxx ---------------------------------------------------------------------------------------------------------------


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
        raise _broken(talk, "a hello", ", ".join(each.frame.kind for each in said) or "nothing", said[0] if said else None)
    first = next(each for each in said if each.frame.kind == "hello")
    newer = [
        each
        for each in said
        if each.moment < first.moment and each.frame.sequence is not None and first.frame.sequence is not None
    ]
    if any((each.frame.sequence - first.frame.sequence) % MODULUS < MODULUS // 2 for each in newer):  # type: ignore[operator]
        raise _broken(talk, "only frames that waited before the hello", "newer ones", newer[0])
    return "a hello"


@proves("CBX-UNIT-002", "AAP-UNIT-001")
def says_its_state(talk: UnitTalk) -> str:
    said = [each for each in talk.up() if each.frame.kind == "state"]
    if not said:
        raise _broken(talk, "a state", f"none within {talk.timing.timeout_s:g} s")
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
        raise _broken(talk, "the frame again", f"not within {talk.timing.timeout_s:g} s", frame)
    if again[0].data != frame.data:
        raise _broken(talk, f"the same bytes {frame.data.hex()}", "others", again[0])
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
            raise _broken(talk, f"the frame again on the next connection: {what}", "it did not come", each)
        if again.data != each.data:
            raise _broken(talk, f"the same bytes {each.data.hex()}", "others", again)
    return f"{len(waiting)} frames came again"


@proves("CBX-UNIT-005")
def keeps_over_a_cut(talk: UnitTalk) -> str:
    waiting, after = _cut_with(talk, "the line is cut", 2, lambda found: None)
    _still_there(talk, waiting, after, "it was not acknowledged")
    order = [number for number in dict.fromkeys(_sequences(after)) if number in _sequences(waiting)]
    if order != sorted(order, key=lambda number: (number - order[0] + MODULUS // 2) % MODULUS):
        raise _broken(talk, "oldest first", str(order))
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
            raise _broken(talk, "nothing that was acknowledged", f"sequence {each.frame.sequence} again", each)
    return f"{len(acknowledged)} frames are gone"


@proves("CBX-UNIT-006")
def reads_the_bitmap(talk: UnitTalk) -> str:
    def name_the_second(waiting: list[Said]) -> None:
        numbers = sorted(_sequences(waiting))
        talk.ack((numbers[0] - 1) % MODULUS, 1 << (numbers[1] - numbers[0]))

    waiting, after = _cut_with(talk, "an Ack by bitmap", 3, name_the_second)
    numbers, there = sorted(_sequences(waiting)), set(_sequences(after))
    if numbers[1] in there:
        raise _broken(talk, f"sequence {numbers[1]}, which the bitmap named, gone", "it came again")
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
        raise _broken(talk, "the command behind the garbage obeyed", "no answer", moment=asked.moment)
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
        raise _broken(talk, f"a state every {CONFIG_S} s", f"{len(states)} in {3.2 * CONFIG_S:.0f} s and more")
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
        raise _broken(talk, f"a state every {CONFIG_S} s as before", f"{len(states)} after the older config")
    return f"{len(states)} states"


def _powered(talk: UnitTalk) -> tuple[list[Said], list[Said], int]:
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
    _waiting, after, highest = _powered(talk)
    known = {each.frame.sequence: each.data for each in talk.frames if each not in after}
    for each in after:
        number = each.frame.sequence
        if number is None:
            continue
        behind = (number - highest) % MODULUS >= MODULUS // 2 or number == highest
        if behind and known.get(number) != each.data:
            raise _broken(talk, f"new frames above sequence {highest}", f"another frame under {number}", each)
    if not any(
        each.frame.sequence is not None and 0 < (each.frame.sequence - highest) % MODULUS < MODULUS // 2 for each in after
    ):
        raise NotExecuted("the unit said nothing new after the power was off", "give --timeout")
    return f"on from {highest}"


@proves("CBX-UNIT-013")
def keeps_over_a_power_cut(talk: UnitTalk) -> str:
    waiting, after, _ = _powered(talk)
    return _still_there(talk, waiting, after, "the power was off")


@proves("CBX-UNIT-014")
def result_and_state_together(talk: UnitTalk) -> str:
    asked = _good(talk)
    result = next(each for each in talk.frames if each.moment == asked.moment and each.frame.kind == "result")
    if not any(each.frame.kind == "state" for each in asked.behind):
        raise _broken(talk, "the state behind the result in one payload", "no state", result)
    return "one payload"


def _clock(talk: UnitTalk) -> str:
    talk.up()
    off_s = talk.clock_ms / 1000
    if not any(each.frame.captured_at is not None for each in talk.frames):
        raise NotExecuted("the unit said no time", "have it report")
    if abs(off_s) > talk.timing.tolerance_s:
        raise _broken(talk, f"a clock within {talk.timing.tolerance_s:g} s", f"{off_s:+.1f} s", talk.frames[0])
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
        raise _broken(talk, "silence", "a result", said[0])
    if asked.response is None:
        raise _broken(talk, "the unit as before", "no answer to the next command")
    return "ignored"


# Commands, whatever carries them -----------------------------------------------------------------------------------------


def _good(talk: UnitTalk) -> Answered:
    def play() -> Answered:
        talk.up()
        return talk.do("request-vehicle-state")

    asked = talk.phase("a good command", play)
    if asked.response is None:
        raise _broken(talk, "an authentic response", f"none within {talk.timing.timeout_s:g} s", moment=asked.moment)
    return asked


@proves("VTC-UNIT-001", "TEL-UNIT-009", "AAP-UNIT-003")
def answers(talk: UnitTalk) -> str:
    asked = _good(talk)
    request, response = asked.request, asked.response
    assert response is not None
    if (response.counter, response.key_id, response.command) != (request.counter, request.key_id, request.command):
        raise Broken("counter, key id and command of the request", str(response), asked.raw, moment=asked.moment)
    if talk.protocol.name == "autoapi" and not any(each.frame.kind == "state" for each in asked.behind):
        raise Broken("the state behind the response", "none", asked.raw, moment=asked.moment)
    return response.result.name


class _Locks:
    """The unit unlocked by one command and locked by the next, with its requests at hand for what follows."""

    def __init__(self, talk: UnitTalk) -> None:
        talk.up()
        self.unlock = talk.do("unlock-central-lock")
        if self.unlock.response is None:
            raise NotExecuted("the unit does not answer commands", "see VTC-UNIT-001")
        if self.unlock.response.result is not Result.OK:
            why = f"{self.unlock.response.result.name} {self.unlock.response.parameters[1:].decode('ascii', 'replace')}"
            raise NotExecuted(
                f"the unit refuses unlock-central-lock: {why}", "take a vehicle that can be locked, standing, ignition off"
            )
        self.open = next((found for each in self.unlock.behind if (found := talk.locked_of(each.frame)) is not None), None)
        if self.open is None:
            talk.wait(0.5)
            self.open = next((found for each in reversed(talk.frames) if (found := talk.locked_of(each.frame)) is not None), None)
        self.lock = talk.do("lock-central-lock")


def _locks(talk: UnitTalk) -> _Locks:
    return talk.phase("unlock, then lock", lambda: _Locks(talk))


@proves("VTC-UNIT-002")
def does_it(talk: UnitTalk) -> str:
    locks = _locks(talk)
    if locks.open is None:
        raise NotExecuted("the unit's reports do not say whether it is locked", "give --model, so that the kit can read them")
    if locks.open:
        raise _broken(talk, "UNLOCKED in the state behind the result", "LOCKED", moment=locks.unlock.moment)
    return "unlocked"


def _tried(talk: UnitTalk, name: str, play: Callable[[_Locks], list[Answered]]) -> list[Answered]:
    """Requests that must not be executed, sent one after another to a locked unit; what was answered."""

    def tried() -> tuple[list[Answered], bool | None]:
        locks = _locks(talk)
        asked = play(locks)
        talk.serve(lambda: False, talk.timing.silence_s)
        for each in asked:
            if each.response is None:
                for said in talk.frames:
                    if each.moment is not None and said.moment > each.moment and talk._answers(said, each):
                        break
        found = asked, talk.lock()
        if found[1] is False:
            talk.do("lock-central-lock")  # so that the next one begins with a locked unit
        return found

    asked, locked = talk.phase(name, tried)
    if locked is False:
        raise _broken(talk, "nothing done: LOCKED as before", "UNLOCKED", moment=asked[0].moment)
    return asked


def _answered(talk: UnitTalk, asked: Answered, *results: Result, silence: bool = False) -> str:
    if asked.response is None:
        if silence:
            return "silence"
        raise _broken(talk, " or ".join(each.name for each in results), "silence", moment=asked.moment)
    if asked.response.result not in results:
        wanted = " or ".join([each.name for each in results] + (["silence"] if silence else []))
        raise Broken(wanted, asked.response.result.name, asked.raw, moment=asked.moment)
    return asked.response.result.name


@proves("VTC-REPLAY-001")
def repeats_the_answer(talk: UnitTalk) -> str:
    def play() -> tuple[Answered, Answered, int]:
        _locks(talk)
        before = 0 if talk.wire.vehicle is None else talk.wire.vehicle.executed.total()
        first = talk.do("lock-central-lock")
        again = talk.answer(talk.send(first.request, data=first.sent, what="the same bytes again"), 5)
        after = 0 if talk.wire.vehicle is None else talk.wire.vehicle.executed.total()
        return first, again, after - before - 1

    first, again, executed = talk.phase("the same bytes again", play)
    if again.response is None:
        raise _broken(talk, "the response again", "silence", moment=again.moment)
    if again.raw != first.raw:
        raise Broken(f"the same response {first.raw.hex()}", "another", again.raw, moment=again.moment)
    if executed > 0:
        raise Broken("executed once", f"the vehicle was moved {executed} times more", again.raw, moment=again.moment)
    return "the same response"


@proves("VTC-REPLAY-002")
def refuses_a_recording(talk: UnitTalk) -> str:
    asked = _tried(
        talk,
        "a recorded unlock",
        lambda locks: [talk.send(locks.unlock.request, data=locks.unlock.sent, what="a recorded unlock")],
    )
    return _answered(talk, asked[0], Result.REPLAY, silence=True)


@proves("VTC-REPLAY-003")
def stores_the_counter(talk: UnitTalk) -> str:
    def play(locks: _Locks) -> list[Answered]:
        _powered(talk)
        return [talk.send(locks.unlock.request, data=locks.unlock.sent, what="a recorded unlock, after the power was off")]

    asked = _tried(talk, "a recorded unlock after the power was off", play)
    return _answered(talk, asked[0], Result.REPLAY, silence=True)


@proves("VTC-REPLAY-004")
def refuses_a_lower_counter(talk: UnitTalk) -> str:
    def play(locks: _Locks) -> list[Answered]:
        request = talk.request("unlock-central-lock", counter=locks.unlock.request.counter - 1)
        return [talk.answer(talk.send(request, what="an unlock with a lower counter"), talk.timing.silence_s)]

    return _answered(talk, _tried(talk, "a lower counter", play)[0], Result.REPLAY, silence=True)


def _late(talk: UnitTalk) -> list[Answered]:
    def play(locks: _Locks) -> list[Answered]:
        late = talk.request("unlock-central-lock", lifetime_s=-10)
        found = [talk.answer(talk.send(late, what="an unlock that is too late"), 5)]
        again = replace(talk.request("unlock-central-lock", counter=late.counter), counter=late.counter)
        found.append(talk.send(again, what="the same counter, later expiry"))
        talk.wait(talk.timing.silence_s)
        return found

    return _tried(talk, "late commands", play)


@proves("VTC-LATE-001")
def refuses_late(talk: UnitTalk) -> str:
    return _answered(talk, _late(talk)[0], Result.EXPIRED)


@proves("VTC-LATE-002")
def refuses_far(talk: UnitTalk) -> str:
    def play(locks: _Locks) -> list[Answered]:
        far = talk.request("unlock-central-lock", lifetime_s=LIFETIME_LIMIT_S + 100)
        return [talk.answer(talk.send(far, what="an unlock that expires in 400 s"), 5)]

    return _answered(talk, _tried(talk, "a far expiry", play)[0], Result.EXPIRED)


@proves("VTC-LATE-003")
def late_uses_up(talk: UnitTalk) -> str:
    asked = _late(talk)[1]
    for said in talk.frames:
        if asked.moment is not None and said.moment > asked.moment and talk._answers(said, asked):
            return _answered(talk, asked, Result.REPLAY)
    return "silence"


def _forged(talk: UnitTalk) -> dict[str, Answered]:
    def play(locks: _Locks) -> list[Answered]:
        key_id, key = talk.command_key
        found: list[Answered] = []

        def send(what: str, make: Callable[[bytes], bytes], unit: str = talk.id, **facts: int) -> None:
            request = talk.request("unlock-central-lock", **facts)
            found.append(talk.send(request, data=make(envelope.close(request, unit, key)), what=what))

        send("an unlock with a wrong tag", lambda data: data[:-1] + bytes([data[-1] ^ 1]))
        send("an unlock for another unit", lambda data: data, unit=talk.id[:-1] + ("0" if talk.id[-1] != "0" else "1"))
        lock = talk.request("lock-central-lock")
        sealed = envelope.close(lock, talk.id, key)
        found.append(talk.send(lock, data=sealed[:17] + bytes([sealed[17] ^ 3]) + sealed[18:], what="a lock, flipped to unlock"))
        response = talk.request("unlock-central-lock")
        reflected = replace(response, type=Type.RESPONSE, parameters=b"\0")
        found.append(talk.send(response, data=envelope.close(reflected, talk.id, key), what="a response, sent back"))
        send("an unlock under an unknown key id", lambda data: data, key_id=key_id ^ 0x55)
        return found

    names = ("tag", "unit", "bit", "reflection", "key")
    return dict(zip(names, _tried(talk, "forged commands", play), strict=True))


def _silent(id: str, which: str) -> None:
    @proves(id)
    def check(talk: UnitTalk) -> str:
        asked = _forged(talk)[which]
        if asked.response is not None:
            raise Broken("silence", asked.response.result.name, asked.raw, moment=asked.moment)
        return "silence"

    check.__qualname__ = f"forged_{which}"


for _id, _which in zip(("001", "002", "003", "004", "005"), ("tag", "unit", "bit", "reflection", "key"), strict=True):
    _silent(f"VTC-FORGE-{_id}", _which)


@proves("VTC-FORGE-006")
def forged_use_nothing_up(talk: UnitTalk) -> str:
    def play() -> Answered:
        _locks(talk)
        forged, key = talk.request("unlock-central-lock"), talk.command_key[1]
        forged = replace(forged, counter=forged.counter + 60_000)
        sealed = envelope.close(forged, talk.id, key)
        talk.send(forged, data=sealed[:-1] + bytes([sealed[-1] ^ 1]), what="an unlock with a wrong tag and a counter far ahead")
        talk.wait(0.3)
        return talk.do("request-vehicle-state")

    asked = talk.phase("a good command after forged ones", play)
    return _answered(talk, asked, Result.OK)


@proves("VTC-UNKNOWN-001")
def unknown_command(talk: UnitTalk) -> str:
    def play() -> Answered:
        talk.up()
        return talk.answer(talk.send(replace(talk.request("no such command"), command=0x01EE), what="an unknown command"), 5)

    return _answered(talk, talk.phase("an unknown command", play), Result.UNKNOWN)


@proves("VTC-PRE-001")
def precondition(talk: UnitTalk) -> str:
    vehicle = talk.wire.vehicle
    if vehicle is None:
        raise NotExecuted(
            "the kit cannot switch the ignition of a real vehicle on", "switch it on, and send an unlock by hand: 422 is wanted"
        )

    def play() -> tuple[Answered, int]:
        _locks(talk)
        vehicle.ignition = True
        talk.wait(0.2)
        before = vehicle.executed.total()
        asked = talk.answer(talk.send(talk.request("unlock-central-lock"), what="an unlock with the ignition on"), 5)
        executed = vehicle.executed.total() - before
        vehicle.ignition = False
        talk.wait(0.2)
        return asked, executed

    asked, executed = talk.phase("an unlock with the ignition on", play)
    seen = _answered(talk, asked, Result.PRECONDITION)
    word = asked.response.parameters[1:].decode("ascii", "replace") if asked.response else ""
    if executed or not word:
        raise Broken(
            "a word for why, and nothing done", f"word {word!r}, executed {executed} times", asked.raw, moment=asked.moment
        )
    return f"{seen} {word}"


@proves("VTC-CMAC-001")
def cmac(talk: UnitTalk) -> str:
    def play() -> Answered:
        talk.up()
        request = talk.request("request-vehicle-state", algorithm=Algorithm.AES_CMAC)
        return talk.answer(talk.send(request, what="a command by AES-128-CMAC"), 5)

    return _answered(talk, talk.phase("a command by AES-128-CMAC", play), Result.OK)


# Teltonika ---------------------------------------------------------------------------------------------------------------


def _first_login(talk: UnitTalk) -> tuple[list[Said], list[Said]]:
    """What came before the login was answered, and what after."""

    def play() -> tuple[list[Said], list[Said]]:
        talk.answering = False
        if not talk.serve(lambda: talk.frames):
            raise NotExecuted(
                f"the unit said nothing within {talk.timing.timeout_s:g} s", "point the unit at the kit and begin again"
            )
        talk.wait(talk.timing.silence_s)
        before = list(talk.frames)
        talk.answering = True
        talk.settle([each for each in before if each.frame.kind == "hello"][-1:])
        begin = len(talk.frames)
        talk.serve(lambda: any(each.frame.reports for each in talk.frames[begin:]))
        after = talk.frames[begin:]
        talk._phases.setdefault("login", list(talk.frames))
        return before, after

    if "login" in talk._phases and "the first login" not in talk._phases:
        return talk.phase("the first login", lambda: _again(talk))
    return talk.phase("the first login", play)


def _again(talk: UnitTalk) -> tuple[list[Said], list[Said]]:
    """The same on a new connection, where the first one was answered before anybody asked."""
    talk.answering = False
    begin = talk.reconnected()
    talk.serve(lambda: any(each.frame.kind == "hello" for each in talk.frames[begin:]))
    talk.wait(talk.timing.silence_s)
    before = talk.frames[begin:]
    talk.answering = True
    talk.settle([each for each in before if each.frame.kind == "hello"][-1:])
    middle = len(talk.frames)
    talk.serve(lambda: any(each.frame.reports for each in talk.frames[middle:]))
    return before, talk.frames[middle:]


@proves("TEL-UNIT-001", "GBT-UNIT-001")
def logs_in_first(talk: UnitTalk) -> str:
    before, _ = _first_login(talk)
    first = next((each for each in before if each.frame.kind != "heartbeat"), None)
    if first is None or first.frame.kind != "hello" or first.frame.unit != talk.id:
        raise _broken(talk, f"a login of {talk.id}", first.frame.kind if first else "nothing", first)
    return talk.id


@proves("TEL-UNIT-002", "GBT-UNIT-002")
def waits_for_the_answer(talk: UnitTalk) -> str:
    before, _ = _first_login(talk)
    early = next((each for each in before if each.frame.reports), None)
    if early is not None:
        raise _broken(talk, "no report before the login is answered", "a report", early)
    return f"silent for {talk.timing.silence_s:g} s"


@proves("TEL-UNIT-003")
def sends_records(talk: UnitTalk) -> str:
    _, after = _first_login(talk)
    found = [each for each in after if each.frame.reports]
    if not found:
        raise _broken(talk, "records", f"none within {talk.timing.timeout_s:g} s")
    return f"{sum(len(each.frame.reports) for each in found)} records"


def _records(said: list[Said]) -> set[bytes]:
    return {report.record for each in said for report in each.frame.reports}


def _unanswered(talk: UnitTalk, name: str, answer: Callable[[Said], None], cut: bool) -> tuple[Said, list[Said]]:
    """A packet of records that is answered by what `answer` says, and what came after that."""

    def play() -> tuple[Said, list[Said]]:
        _first_login(talk)
        talk.wait(0.5)
        talk.answering = False
        packet = talk.fresh()[0]
        answer(packet)
        begin = talk.frames.index(packet) + 1
        if cut:
            begin = talk.reconnected()
        hello = len(talk.frames) if not cut else begin

        def logged_in() -> bool:
            found = [each for each in talk.frames[hello:] if each.frame.kind == "hello"]
            if found and not talk.answering:
                talk.answering = True
                talk.settle(found[-1:])
            return _records([packet]) <= _records(talk.frames[begin:])

        talk.serve(logged_in, None if not cut else max(5.0, 2 * talk.timing.silence_s))
        return packet, talk.frames[begin:]

    return talk.phase(name, play)


def _all_again(talk: UnitTalk, packet: Said, after: list[Said], why: str) -> str:
    if not _records([packet]) <= _records(after):
        raise _broken(talk, f"the records again, the same bytes: {why}", "they did not come", packet)
    return f"{len(packet.frame.reports)} records came again"


@proves("TEL-UNIT-005")
def sends_records_again(talk: UnitTalk) -> str:
    packet, after = _unanswered(talk, "records without an answer", lambda packet: None, cut=False)
    return _all_again(talk, packet, after, "they were not answered")


@proves("TEL-UNIT-006")
def counts_the_answer(talk: UnitTalk) -> str:
    def fewer(packet: Said) -> None:
        talk.say((len(packet.frame.reports) + 1).to_bytes(4, "big"), "another count")

    packet, after = _unanswered(talk, "records with another count", fewer, cut=True)
    return _all_again(talk, packet, after, "the count was another")


@proves("TEL-UNIT-007")
def lets_records_go(talk: UnitTalk) -> str:
    def play() -> tuple[set[bytes], list[Said]]:
        _first_login(talk)
        begin = len(talk.frames)
        try:
            packet = talk.fresh()[0]
        except NotExecuted:  # a unit that lets nothing go never comes to say anything new
            packets = [each for each in talk.frames[begin:] if each.frame.reports]
            if len(packets) < 2:
                raise
            return _records(packets[:1]), packets[1:]
        talk.wait(0.5)
        begin = talk.reconnected()
        talk.wait(max(3.0, talk.timing.silence_s))
        return _records([packet]), talk.frames[begin:]

    gone, after = talk.phase("records answered, then cut", play)
    again = next((each for each in after if _records([each]) & gone), None)
    if again is not None:
        raise _broken(talk, "no record that was answered", "one again", again)
    return f"{len(gone)} records are gone"


@proves("TEL-UNIT-008")
def keeps_records_over_a_cut(talk: UnitTalk) -> str:
    packet, after = _unanswered(talk, "records unanswered, then cut", lambda packet: None, cut=True)
    return _all_again(talk, packet, after, "the line was cut")


@proves("TEL-UNIT-004")
def accepts_a_rejection(talk: UnitTalk) -> str:
    def play() -> list[Said]:
        _first_login(talk)
        talk.accepting = LOGIN_REJECTED
        begin = talk.reconnected()
        talk.serve(lambda: any(each.frame.kind == "hello" for each in talk.frames[begin:]))
        talk.wait(max(3.0, talk.timing.silence_s))
        found = [each for each in talk.frames[begin:] if each.frame.reports]
        talk.accepting = None
        begin = talk.reconnected()
        talk.serve(lambda: any(each.frame.kind == "hello" for each in talk.frames[begin:]))
        talk.wait(0.5)
        return found

    found = talk.phase("a rejected login", play)
    if found:
        raise _broken(talk, "no records after 00", "records", found[0])
    return "none"


def _corrupt(talk: UnitTalk, what: str, spoil: Callable[[bytes], bytes]) -> Answered:
    def play() -> Answered:
        talk.up()
        request = talk.request("request-vehicle-state")
        sealed = envelope.close(request, talk.id, talk.command_key[1])
        payload = talk.protocol.carry(talk.id, sealed, talk.wire.now_ms(), talk.seal_key)
        asked = Answered(request, sealed, moment=talk.say(spoil(payload), what))
        return talk.answer(asked, talk.timing.silence_s)

    return talk.phase(what, play)


def _not_answered(talk: UnitTalk, asked: Answered) -> str:
    if asked.response is not None:
        raise Broken("silence", asked.response.result.name, asked.raw, moment=asked.moment)
    return "silence"


@proves("TEL-UNIT-010", "GBT-UNIT-009")
def checks_the_checksum(talk: UnitTalk) -> str:
    return _not_answered(talk, _corrupt(talk, "a command with a wrong checksum", lambda data: data[:-1] + bytes([data[-1] ^ 1])))


# GB/T 32960 --------------------------------------------------------------------------------------------------------------


@proves("GBT-UNIT-003")
def reports_in_realtime(talk: UnitTalk) -> str:
    _first_login(talk)
    found = [each for each in talk.frames if each.frame.reports and is_realtime(each)]
    if not found:
        found = [each for each in talk.fresh(1) if is_realtime(each)]
    if not found:
        raise _broken(talk, "realtime reports (02)", "none")
    return f"{len(found)} reports"


@proves("GBT-UNIT-004")
def logs_in_again(talk: UnitTalk) -> str:
    if not talk.wire.virtual and talk.timing.timeout_s < 70:
        raise NotExecuted(f"the kit waits for {talk.timing.timeout_s:g} s, the unit for 60", "give --timeout 70")

    def play() -> list[Said]:
        _first_login(talk)
        talk.answering = False
        begin = talk.reconnected()

        def logins() -> list[Said]:
            return [each for each in talk.frames[begin:] if each.frame.kind == "hello"]

        talk.serve(lambda: len(logins()) >= 2, 75)
        talk.answering = True
        talk.settle(logins()[-1:])
        talk.wait(0.5)
        return logins()

    found = talk.phase("a login without an answer", play)
    if len(found) < 2:
        raise _broken(talk, "another login after a minute", "none within 75 s", found[0] if found else None)
    after_s = (found[1].at_ms - found[0].at_ms) / 1000
    if abs(after_s - 60) > talk.timing.tolerance_s + 1:
        raise _broken(talk, "another login after a minute", f"after {after_s:.0f} s", found[1])
    return f"after {after_s:.0f} s"


@proves("GBT-UNIT-005")
def numbers_its_logins(talk: UnitTalk) -> str:
    def play() -> list[Said]:
        _first_login(talk)
        talk.wait(0.2)
        talk.reconnected()
        talk.wait(0.5)
        return [each for each in talk.frames if each.frame.kind == "hello"]

    found = talk.phase("two logins", play)
    numbers = [each.frame.facts["sequence"] for each in found]
    for before, after, said in zip(numbers, numbers[1:], found[1:], strict=False):
        if after != before + 1 and after != 1:
            raise _broken(talk, f"login {before + 1} (or 1 on a new day)", str(after), said)
    if len(numbers) < 2 or numbers[-1] == 1:
        raise NotExecuted("the logins were on two days", "run it again")
    return f"logins {numbers}"


@proves("GBT-UNIT-006")
def reissues(talk: UnitTalk) -> str:
    def play() -> tuple[list[Said], int]:
        _first_login(talk)
        talk.wait(0.5)
        talk.answering = False
        begin = talk.reconnected()
        cut_ms = talk.wire.now_ms()
        talk.serve(lambda: any(each.frame.kind == "hello" for each in talk.frames[begin:]))
        vehicle = talk.wire.vehicle
        if vehicle is not None:
            vehicle.headlights = not vehicle.headlights  # something to report
        talk.wait(5.0 if not talk.wire.virtual else 35.0)
        talk.answering = True
        talk.settle([each for each in talk.frames[begin:] if each.frame.kind == "hello"][-1:])
        middle = len(talk.frames)
        talk.serve(lambda: any(each.frame.reports for each in talk.frames[middle:]), 10)
        talk.wait(0.5)
        return talk.frames[middle:], cut_ms

    after, cut_ms = talk.phase("reports stored while the line is cut", play)
    answered_ms = after[0].at_ms if after else cut_ms
    stored = [each for each in after if each.frame.reports and (each.frame.captured_at or 0) < answered_ms - 1500]
    if not stored:
        raise NotExecuted(
            "nothing was to be reported while the line was cut", "have the unit report more often, or give --timeout"
        )
    wrong = next((each for each in stored if not is_reissue(each)), None)
    if wrong is not None:
        raise _broken(talk, "reissue (03) of what was stored", "realtime (02)", wrong)
    return f"{len(stored)} reissued"


@proves("GBT-UNIT-008")
def answers_in_place(talk: UnitTalk) -> str:
    asked = _good(talk)
    said = next(each for each in talk.frames if each.moment == asked.moment and each.frame.kind == "result")
    facts = said.frame.facts
    if (facts["command"], facts["flag"], facts["body"].get("control")) != (0x82, 0x01, ENVELOPE_CONTROL):
        raise _broken(talk, "command 82, flag 01, control 80", f"command {facts['command']:02x}, flag {facts['flag']:02x}", said)
    return "in place"


@proves("GBT-UNIT-010")
def checks_the_vin(talk: UnitTalk) -> str:
    def other(data: bytes) -> bytes:
        spoiled = data[:20] + bytes([data[20] ^ 1]) + data[21:-1]
        total = 0
        for byte in spoiled[2:]:
            total ^= byte
        return spoiled + bytes([total])

    return _not_answered(talk, _corrupt(talk, "a command with another VIN", other))


# AutoAPI -----------------------------------------------------------------------------------------------------------------


@proves("AAP-UNIT-002")
def names_vin_and_time(talk: UnitTalk) -> str:
    states = [each for each in talk.up() if each.frame.kind == "state"]
    if not states:
        raise NotExecuted("the unit said no state", "see AAP-UNIT-001")
    if not any(each.frame.unit == talk.id for each in states) or any(each.frame.captured_at is None for each in states):
        raise _broken(talk, f"VIN {talk.id} and a time", f"{states[0].frame.unit}, {states[0].frame.captured_at}", states[0])
    return talk.id


@proves("AAP-UNIT-004")
def wants_an_envelope(talk: UnitTalk) -> str:
    def play(locks: _Locks) -> list[Answered]:
        from protocols.autoapi_commands import native

        moment = talk.say(native("unlock-central-lock"), "an unlock without an envelope")
        return [Answered(replace(talk.request("unlock-central-lock"), counter=0), b"", moment=moment)]

    _tried(talk, "a setter without an envelope", play)
    return "LOCKED as before"


@proves("AAP-UNIT-005")
def reports_again(talk: UnitTalk) -> str:
    def play() -> list[Said]:
        talk.up()
        return talk.fresh(2)

    found = talk.phase("two more states", play)
    times = [each.frame.captured_at or 0 for each in found]
    if times != sorted(times) or times[0] == times[-1]:
        raise _broken(talk, "later times", str(times), found[-1])
    return f"after {(times[-1] - times[0]) / 1000:.1f} s"


__all__ = ["record_of"]
