"""GB/T 32960 units."""

from bench.conformance.checks.units.played import broken, good_command
from bench.conformance.checks.units.teltonika import corrupt, first_login, not_answered
from bench.conformance.requirement import NotExecuted, proves
from bench.conformance.talk import Said, UnitTalk, is_realtime, is_reissue
from protocols.gbt32960 import ENVELOPE_CONTROL


@proves("GBT-UNIT-003")
def reports_in_realtime(talk: UnitTalk) -> str:
    first_login(talk)
    found = [each for each in talk.frames if each.frame.reports and is_realtime(each)]
    if not found:
        found = [each for each in talk.fresh(1) if is_realtime(each)]
    if not found:
        raise broken(talk, "realtime reports (02)", "none")
    return f"{len(found)} reports"


@proves("GBT-UNIT-004")
def logs_in_again(talk: UnitTalk) -> str:
    if not talk.wire.virtual and talk.timing.timeout_s < 70:
        raise NotExecuted(f"the kit waits for {talk.timing.timeout_s:g} s, the unit for 60", "give --timeout 70")

    def play() -> list[Said]:
        first_login(talk)
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
        raise broken(talk, "another login after a minute", "none within 75 s", found[0] if found else None)
    after_s = (found[1].at_ms - found[0].at_ms) / 1000
    if abs(after_s - 60) > talk.timing.tolerance_s + 1:
        raise broken(talk, "another login after a minute", f"after {after_s:.0f} s", found[1])
    return f"after {after_s:.0f} s"


@proves("GBT-UNIT-005")
def numbers_its_logins(talk: UnitTalk) -> str:
    def play() -> list[Said]:
        first_login(talk)
        talk.wait(0.2)
        talk.reconnected()
        talk.wait(0.5)
        return [each for each in talk.frames if each.frame.kind == "hello"]

    found = talk.phase("two logins", play)
    numbers = [each.frame.facts["sequence"] for each in found]
    for before, after, said in zip(numbers, numbers[1:], found[1:], strict=False):
        if after != before + 1 and after != 1:
            raise broken(talk, f"login {before + 1} (or 1 on a new day)", str(after), said)
    if len(numbers) < 2 or numbers[-1] == 1:
        raise NotExecuted("the logins were on two days", "run it again")
    return f"logins {numbers}"


@proves("GBT-UNIT-006")
def reissues(talk: UnitTalk) -> str:
    def play() -> tuple[list[Said], int]:
        first_login(talk)
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
        raise broken(talk, "reissue (03) of what was stored", "realtime (02)", wrong)
    return f"{len(stored)} reissued"


@proves("GBT-UNIT-008")
def answers_in_place(talk: UnitTalk) -> str:
    asked = good_command(talk)
    said = next(each for each in talk.frames if each.moment == asked.moment and each.frame.kind == "result")
    facts = said.frame.facts
    if (facts["command"], facts["flag"], facts["body"].get("control")) != (0x82, 0x01, ENVELOPE_CONTROL):
        raise broken(talk, "command 82, flag 01, control 80", f"command {facts['command']:02x}, flag {facts['flag']:02x}", said)
    return "in place"


@proves("GBT-UNIT-010")
def checks_the_vin(talk: UnitTalk) -> str:
    def other(data: bytes) -> bytes:
        spoiled = data[:20] + bytes([data[20] ^ 1]) + data[21:-1]
        total = 0
        for byte in spoiled[2:]:
            total ^= byte
        return spoiled + bytes([total])

    return not_answered(talk, corrupt(talk, "a command with another VIN", other))
