"""Commands, whatever carries them."""

from collections.abc import Callable
from dataclasses import replace

from bench.conformance.checks.units.cloudboxx import power_cycled
from bench.conformance.checks.units.played import broken, good_command
from bench.conformance.requirement import Broken, NotExecuted, proves
from bench.conformance.talk import LIFETIME_LIMIT_S, Algorithm, Answered, UnitTalk
from protocols import envelope
from protocols.envelope import Result, Type


@proves("VTC-UNIT-001", "TEL-UNIT-009", "AAP-UNIT-003")
def answers(talk: UnitTalk) -> str:
    asked = good_command(talk)
    request, response = asked.request, asked.response
    assert response is not None
    if (response.counter, response.key_id, response.command) != (request.counter, request.key_id, request.command):
        raise Broken("counter, key id and command of the request", str(response), asked.raw, moment=asked.moment)
    if talk.protocol.name == "autoapi" and not any(each.frame.kind == "state" for each in asked.behind):
        raise Broken("the state behind the response", "none", asked.raw, moment=asked.moment)
    return response.result.name


class Locks:
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


def _locks(talk: UnitTalk) -> Locks:
    return talk.phase("unlock, then lock", lambda: Locks(talk))


@proves("VTC-UNIT-002")
def does_it(talk: UnitTalk) -> str:
    locks = _locks(talk)
    if locks.open is None:
        raise NotExecuted("the unit's reports do not say whether it is locked", "give --model, so that the kit can read them")
    if locks.open:
        raise broken(talk, "UNLOCKED in the state behind the result", "LOCKED", moment=locks.unlock.moment)
    return "unlocked"


def tried(talk: UnitTalk, name: str, play: Callable[[Locks], list[Answered]]) -> list[Answered]:
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
        raise broken(talk, "nothing done: LOCKED as before", "UNLOCKED", moment=asked[0].moment)
    return asked


def _answered(talk: UnitTalk, asked: Answered, *results: Result, silence: bool = False) -> str:
    if asked.response is None:
        if silence:
            return "silence"
        raise broken(talk, " or ".join(each.name for each in results), "silence", moment=asked.moment)
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
        raise broken(talk, "the response again", "silence", moment=again.moment)
    if again.raw != first.raw:
        raise Broken(f"the same response {first.raw.hex()}", "another", again.raw, moment=again.moment)
    if executed > 0:
        raise Broken("executed once", f"the vehicle was moved {executed} times more", again.raw, moment=again.moment)
    return "the same response"


@proves("VTC-REPLAY-002")
def refuses_a_recording(talk: UnitTalk) -> str:
    asked = tried(
        talk,
        "a recorded unlock",
        lambda locks: [talk.send(locks.unlock.request, data=locks.unlock.sent, what="a recorded unlock")],
    )
    return _answered(talk, asked[0], Result.REPLAY, silence=True)


@proves("VTC-REPLAY-003")
def stores_the_counter(talk: UnitTalk) -> str:
    def play(locks: Locks) -> list[Answered]:
        power_cycled(talk)
        return [talk.send(locks.unlock.request, data=locks.unlock.sent, what="a recorded unlock, after the power was off")]

    asked = tried(talk, "a recorded unlock after the power was off", play)
    return _answered(talk, asked[0], Result.REPLAY, silence=True)


@proves("VTC-REPLAY-004")
def refuses_a_lower_counter(talk: UnitTalk) -> str:
    def play(locks: Locks) -> list[Answered]:
        request = talk.request("unlock-central-lock", counter=locks.unlock.request.counter - 1)
        return [talk.answer(talk.send(request, what="an unlock with a lower counter"), talk.timing.silence_s)]

    return _answered(talk, tried(talk, "a lower counter", play)[0], Result.REPLAY, silence=True)


def _late(talk: UnitTalk) -> list[Answered]:
    def play(locks: Locks) -> list[Answered]:
        late = talk.request("unlock-central-lock", lifetime_s=-10)
        found = [talk.answer(talk.send(late, what="an unlock that is too late"), 5)]
        again = replace(talk.request("unlock-central-lock", counter=late.counter), counter=late.counter)
        found.append(talk.send(again, what="the same counter, later expiry"))
        talk.wait(talk.timing.silence_s)
        return found

    return tried(talk, "late commands", play)


@proves("VTC-LATE-001")
def refuses_late(talk: UnitTalk) -> str:
    return _answered(talk, _late(talk)[0], Result.EXPIRED)


@proves("VTC-LATE-002")
def refuses_far(talk: UnitTalk) -> str:
    def play(locks: Locks) -> list[Answered]:
        far = talk.request("unlock-central-lock", lifetime_s=LIFETIME_LIMIT_S + 100)
        return [talk.answer(talk.send(far, what="an unlock that expires in 400 s"), 5)]

    return _answered(talk, tried(talk, "a far expiry", play)[0], Result.EXPIRED)


@proves("VTC-LATE-003")
def late_uses_up(talk: UnitTalk) -> str:
    asked = _late(talk)[1]
    for said in talk.frames:
        if asked.moment is not None and said.moment > asked.moment and talk._answers(said, asked):
            return _answered(talk, asked, Result.REPLAY)
    return "silence"


def _forged(talk: UnitTalk) -> dict[str, Answered]:
    def play(locks: Locks) -> list[Answered]:
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
    return dict(zip(names, tried(talk, "forged commands", play), strict=True))


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
