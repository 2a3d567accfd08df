"""Teltonika units."""

from collections.abc import Callable

from bench.conformance.checks.units.played import broken
from bench.conformance.requirement import Broken, NotExecuted, proves
from bench.conformance.talk import Answered, Said, UnitTalk
from protocols import envelope
from protocols.teltonika import LOGIN_REJECTED


def first_login(talk: UnitTalk) -> tuple[list[Said], list[Said]]:
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
    before, _ = first_login(talk)
    first = next((each for each in before if each.frame.kind != "heartbeat"), None)
    if first is None or first.frame.kind != "hello" or first.frame.unit != talk.id:
        raise broken(talk, f"a login of {talk.id}", first.frame.kind if first else "nothing", first)
    return talk.id


@proves("TEL-UNIT-002", "GBT-UNIT-002")
def waits_for_the_answer(talk: UnitTalk) -> str:
    before, _ = first_login(talk)
    early = next((each for each in before if each.frame.reports), None)
    if early is not None:
        raise broken(talk, "no report before the login is answered", "a report", early)
    return f"silent for {talk.timing.silence_s:g} s"


@proves("TEL-UNIT-003")
def sends_records(talk: UnitTalk) -> str:
    _, after = first_login(talk)
    found = [each for each in after if each.frame.reports]
    if not found:
        raise broken(talk, "records", f"none within {talk.timing.timeout_s:g} s")
    return f"{sum(len(each.frame.reports) for each in found)} records"


def _records(said: list[Said]) -> set[bytes]:
    return {report.record for each in said for report in each.frame.reports}


def _unanswered(talk: UnitTalk, name: str, answer: Callable[[Said], None], cut: bool) -> tuple[Said, list[Said]]:
    """A packet of records that is answered by what `answer` says, and what came after that."""

    def play() -> tuple[Said, list[Said]]:
        first_login(talk)
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
        raise broken(talk, f"the records again, the same bytes: {why}", "they did not come", packet)
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
        first_login(talk)
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
        raise broken(talk, "no record that was answered", "one again", again)
    return f"{len(gone)} records are gone"


@proves("TEL-UNIT-008")
def keeps_records_over_a_cut(talk: UnitTalk) -> str:
    packet, after = _unanswered(talk, "records unanswered, then cut", lambda packet: None, cut=True)
    return _all_again(talk, packet, after, "the line was cut")


@proves("TEL-UNIT-004")
def accepts_a_rejection(talk: UnitTalk) -> str:
    def play() -> list[Said]:
        first_login(talk)
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
        raise broken(talk, "no records after 00", "records", found[0])
    return "none"


def corrupt(talk: UnitTalk, what: str, spoil: Callable[[bytes], bytes]) -> Answered:
    def play() -> Answered:
        talk.up()
        request = talk.request("request-vehicle-state")
        sealed = envelope.close(request, talk.id, talk.command_key[1])
        payload = talk.protocol.carry(talk.id, sealed, talk.wire.now_ms(), talk.seal_key)
        asked = Answered(request, sealed, moment=talk.say(spoil(payload), what))
        return talk.answer(asked, talk.timing.silence_s)

    return talk.phase(what, play)


def not_answered(talk: UnitTalk, asked: Answered) -> str:
    if asked.response is not None:
        raise Broken("silence", asked.response.result.name, asked.raw, moment=asked.moment)
    return "silence"


@proves("TEL-UNIT-010", "GBT-UNIT-009")
def checks_the_checksum(talk: UnitTalk) -> str:
    return not_answered(talk, corrupt(talk, "a command with a wrong checksum", lambda data: data[:-1] + bytes([data[-1] ^ 1])))
