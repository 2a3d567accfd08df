"""What happens to bytes on their way: damaged, cut, glued, doubled, mixed up, said again, said in the wrong place."""

from collections import deque
from collections.abc import Callable

from devices.faults.fault import UNSEALED, Ailment, Fault, FaultUnsuited, Recurring, Stray, reasons
from protocols.checksums import crc16_ccitt_false
from protocols.codec import PAYLOAD_LIMIT_BYTES, UnitId
from protocols.gbt32960_session import SEQUENCE_LIMIT
from protocols.seal import SEAL_SIZE_BYTES

GLUE_WITHIN_MS = 5_000
OVERTAKEN_WITHIN_MS = 8_000
"""How long a payload is held back for another one to come: shorter than a unit waits for its Ack."""

RECORDED = 100
DAY_MS = 24 * 3600_000
BEIJING_MS = 8 * 3600_000
"""GB/T 32960 counts logins by the day of UTC+8."""

STORM_PAYLOADS = 5
STORM_TIMES = 4
WRAPS_AFTER = 20
LOGIN_AGAIN_MS = 30_000
CRC_BYTES = 2

STOP_AND_WAIT = reasons(teltonika="it says nothing new before its last packet is answered: there is no next one")
UNNUMBERED_ANSWERS = reasons(
    teltonika="its answers carry no number: a packet that is answered twice has the next one answered before its time"
)


def _flipped(payload: bytes, bit: int) -> bytes:
    damaged = bytearray(payload)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def _is_login(protocol: str, payload: bytes) -> bool:
    """Teltonika's login and keep-alive have no checksum: what is damaged there is another IMEI, or nothing."""
    return protocol == "teltonika" and not payload.startswith(bytes(4))


class _Damage(Ailment):
    """Some payloads go out as something else."""

    def up(self, payloads: list[bytes], now_ms: int) -> list[bytes]:
        return [self.damaged(each) if self._may(each) and self.dice() else each for each in payloads]

    def damaged(self, payload: bytes) -> bytes:
        raise NotImplementedError

    def _may(self, payload: bytes) -> bool:
        return not _is_login(self.terminal.protocol, payload)


class _WrongCrc(_Damage):
    def damaged(self, payload: bytes) -> bytes:
        return _flipped(payload, len(payload) * 8 - 1 - self.rng.randrange(8))


class BadCrc(Fault):
    """One bit of the checksum at the end is turned over."""

    name = "bad_crc"
    sentence = "one bit of the last frame's checksum is turned over on the way"
    level = "wire"
    expected = ("refused:bad_checksum", "quarantined", "held", "true")
    protocols = frozenset({"cloudboxx", "teltonika", "gbt32960"})
    because = reasons(autoapi="its messages carry no checksum")
    ailment = _WrongCrc


class _WrongSeal(_Damage):
    def damaged(self, payload: bytes) -> bytes:
        at = len(payload) - CRC_BYTES - SEAL_SIZE_BYTES
        covered = _flipped(payload[:-CRC_BYTES], at * 8 + self.rng.randrange(SEAL_SIZE_BYTES * 8))
        return covered + crc16_ccitt_false(covered).to_bytes(CRC_BYTES, "little")


class FlippedSeal(Fault):
    """The seal is wrong and the checksum right: somebody else made the frame."""

    name = "flipped_seal"
    sentence = "one bit of the last frame's seal is turned over and the checksum made to fit, as a forger would"
    level = "wire"
    expected = ("refused:forged", "quarantined", "held", "true")
    protocols = frozenset({"cloudboxx"})
    because = UNSEALED
    ailment = _WrongSeal


class _Cut(_Damage):
    def damaged(self, payload: bytes) -> bytes:
        return payload[: len(payload) - self.rng.randrange(1, min(len(payload), 20) - 2)]


class CutFrame(Fault):
    """The end is missing."""

    name = "cut_frame"
    sentence = "the last bytes of a payload are missing"
    level = "wire"
    expected = ("refused:truncated", "quarantined", "held", "true")
    ailment = _Cut


class _Held(Ailment):
    """A payload waits for the next one, and is then put together with it in some way; alone it goes out in the end."""

    within_ms = GLUE_WITHIN_MS

    def begins(self, now_ms: int) -> None:
        self._held: bytes | None = None
        self._until = 0

    def up(self, payloads: list[bytes], now_ms: int) -> list[bytes]:
        out: list[bytes] = []
        for each in payloads:
            if self._held is not None:
                out += self.together(self._held, each)
                self._held = None
            elif not isinstance(each, Stray) and not _is_login(self.terminal.protocol, each) and self.dice():
                self._held, self._until = each, now_ms + self.within_ms
            else:
                out.append(each)
        return out

    def tick(self, now_ms: int) -> list[bytes]:
        if self._held is None or now_ms < self._until:
            return []
        held, self._held = self._held, None
        self.terminal.say(held, now_ms)
        return []

    def next_ms(self, now_ms: int) -> int | None:
        return None if self._held is None else self._until

    def together(self, held: bytes, following: bytes) -> list[bytes]:
        raise NotImplementedError


class _Glue(_Held):
    def together(self, held: bytes, following: bytes) -> list[bytes]:
        return [held + following]


class GluedFrames(Fault):
    """The modem puts two payloads into one."""

    name = "glued_frames"
    sentence = "two payloads arrive as one, their frames back to back"
    level = "wire"
    usual_rate = 0.3
    expected = ("held", "no_false_change", "true")
    protocols = frozenset({"cloudboxx", "gbt32960", "autoapi"})
    because = STOP_AND_WAIT
    ailment = _Glue


class _Overtaken(_Held):
    within_ms = OVERTAKEN_WITHIN_MS

    def together(self, held: bytes, following: bytes) -> list[bytes]:
        return [following, held]


class Reorder(Fault):
    """A payload is overtaken by the next."""

    name = "reorder"
    sentence = "a payload arrives after the one that was sent after it"
    level = "wire"
    usual_rate = 0.3
    expected = ("late", "held", "no_false_change", "true")
    protocols = frozenset({"cloudboxx", "gbt32960", "autoapi"})
    because = STOP_AND_WAIT
    ailment = _Overtaken


class _Twice(Ailment):
    def up(self, payloads: list[bytes], now_ms: int) -> list[bytes]:
        return [copy for each in payloads for copy in ((each, each) if self.dice() else (each,))]


class Duplicate(Fault):
    """As QoS 1 may do at any time."""

    name = "duplicate"
    sentence = "a payload arrives twice"
    level = "wire"
    usual_rate = 0.3
    expected = ("repeated", "held", "no_false_change", "true")
    protocols = frozenset({"cloudboxx", "gbt32960", "autoapi"})
    because = UNNUMBERED_ANSWERS
    ailment = _Twice


class _Recorder(Ailment):
    def begins(self, now_ms: int) -> None:
        self._heard: deque[bytes] = deque(maxlen=RECORDED)

    def up(self, payloads: list[bytes], now_ms: int) -> list[bytes]:
        out: list[bytes] = []
        for each in payloads:
            out.append(each)
            if self._heard and self.dice():
                out.append(self._heard[self.rng.randrange(len(self._heard))])
            if not _is_login(self.terminal.protocol, each):
                self._heard.append(each)
        return out


class Replay(Fault):
    """Somebody has recorded what the unit said."""

    name = "replay"
    sentence = "a payload that was recorded up to a hundred payloads ago is sent again, unchanged"
    level = "wire"
    expected = ("repeated", "held", "no_false_change", "true")
    protocols = frozenset({"cloudboxx", "gbt32960", "autoapi"})
    because = UNNUMBERED_ANSWERS
    ailment = _Recorder


class _Besides(Ailment):
    """Something goes out besides what is said."""

    def up(self, payloads: list[bytes], now_ms: int) -> list[bytes]:
        out: list[bytes] = []
        for each in payloads:
            out.append(each)
            if self.dice():
                out.append(self.besides(each))
        return out

    def besides(self, payload: bytes) -> bytes:
        raise NotImplementedError


class _Noise(_Besides):
    def besides(self, payload: bytes) -> bytes:
        return bytes(self.rng.choice(_NEVER_A_START) for _ in range(self.rng.randrange(8, 200)))


_NEVER_A_START = bytes(set(range(1, 256)) - {0x23, 0x24, 0xCB, 0x11, 0xFF, 0x0F})
"""Bytes that begin no frame of any protocol here."""


class Noise(Fault):
    """Bytes that nobody meant to say."""

    name = "noise"
    sentence = "a payload of random bytes is sent besides"
    level = "wire"
    expected = ("refused:bad_sync", "quarantined", "held", "true")
    ailment = _Noise


class _Huge(_Besides):
    def besides(self, payload: bytes) -> bytes:
        return (bytes(payload) * (PAYLOAD_LIMIT_BYTES // len(payload) + 1))[: PAYLOAD_LIMIT_BYTES + 1].ljust(
            PAYLOAD_LIMIT_BYTES + 1, b"\0"
        )


class OversizedPayload(Fault):
    """More than may be sent."""

    name = "oversized_payload"
    sentence = "a payload of one byte more than 64 KiB is sent besides"
    level = "wire"
    usual_rate = 0.02
    expected = ("refused:oversized", "held", "true")
    ailment = _Huge


class _Elsewhere(_Damage):
    def damaged(self, payload: bytes) -> bytes:
        neighbour = self.terminal.neighbour
        return payload if neighbour is None else Stray(payload, neighbour)


class ForeignTopic(Fault):
    """Right frames on another unit's topic. A broker that knows its units lets none of it through."""

    name = "foreign_topic"
    sentence = "a payload goes to the topic of another unit of the same brand"
    level = "wire"
    expected = ("refused:identity_mismatch", "held", "true")
    protocols = frozenset({"cloudboxx", "gbt32960", "autoapi"})
    because = reasons(teltonika="its records do not say who made them: all there is against this is the broker")
    ailment = _Elsewhere


class _Stranger(_Besides):
    def besides(self, payload: bytes) -> bytes:
        unit = self.terminal.config.unit
        return Stray(payload, UnitId(unit.brand, "".join(map(_NEXT, unit.telematics_unit_id))))


def _next_sign(sign: str) -> str:
    return "0" if sign in "9FZ" else chr(ord(sign) + 1) if sign.isalnum() else sign


_NEXT: Callable[[str], str] = _next_sign


class UnknownUnit(Fault):
    """Frames under an id that no vehicle has."""

    name = "unknown_unit"
    sentence = "a copy of a payload goes out under the id of a unit that nobody has added"
    level = "wire"
    expected = ("refused:unknown_unit", "quarantined", "held", "true")
    ailment = _Stranger


class _NearTheEnd(Ailment):
    def begins(self, now_ms: int) -> None:
        self._login_again_at: int | None = None
        flash = self.terminal.flash
        if self.terminal.protocol == "gbt32960":
            flash.login_day, flash.login_number = (now_ms + BEIJING_MS) // DAY_MS, SEQUENCE_LIMIT - 1
            return
        if self.terminal.spoken:
            raise FaultUnsuited("sequence_wrap is for a unit that has not spoken yet: what it said before would be ahead")
        flash.sequence = (1 << 32) - 1 - WRAPS_AFTER

    def connected(self, now_ms: int) -> list[bytes]:
        if self.terminal.flash.login_number == SEQUENCE_LIMIT:
            self._login_again_at = now_ms + LOGIN_AGAIN_MS
        return []

    def tick(self, now_ms: int) -> list[bytes]:
        if self._login_again_at is not None and now_ms >= self._login_again_at:
            self._login_again_at = None
            self.terminal.lose_line(now_ms)
        return []

    def next_ms(self, now_ms: int) -> int | None:
        return self._login_again_at


class SequenceWrap(Fault):
    """The count of frames passes 2^32."""

    name = "sequence_wrap"
    sentence = (
        f"the unit's first frame is {WRAPS_AFTER} before its sequence number passes 2^32; where logins are numbered, the next "
        f"one is the last of its day, {SEQUENCE_LIMIT}, and is followed by the first"
    )
    level = "wire"
    per = "unit"
    usual_rate = 1.0
    expected = ("held", "in_order", "no_false_change", "true")
    protocols = frozenset({"cloudboxx", "gbt32960"})
    because = reasons(teltonika="over TCP and MQTT its packets carry no number", autoapi="its messages carry no number")
    ailment = _NearTheEnd


class _Chatter(Recurring):
    def begins(self, now_ms: int) -> None:
        super().begins(now_ms)
        self._said: deque[bytes] = deque(maxlen=STORM_PAYLOADS)

    def up(self, payloads: list[bytes], now_ms: int) -> list[bytes]:
        self._said.extend(payloads)
        return payloads

    def strike(self, now_ms: int) -> list[bytes]:
        said = tuple(self._said)
        return [each for each in said for _ in range(STORM_TIMES)]


class RetryStorm(Fault):
    """Firmware that does not wait for its answers."""

    name = "retry_storm"
    sentence = f"the last {STORM_PAYLOADS} payloads are sent again, {STORM_TIMES} times at once"
    level = "wire"
    per = "hour"
    usual_rate = 60.0
    expected = ("repeated", "held", "no_false_change", "true")
    protocols = frozenset({"cloudboxx", "gbt32960", "autoapi"})
    because = UNNUMBERED_ANSWERS
    ailment = _Chatter


FAULTS: tuple[type[Fault], ...] = (
    BadCrc,
    FlippedSeal,
    CutFrame,
    GluedFrames,
    Duplicate,
    Reorder,
    SequenceWrap,
    Replay,
    RetryStorm,
    Noise,
    OversizedPayload,
    ForeignTopic,
    UnknownUnit,
)
