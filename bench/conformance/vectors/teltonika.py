"""Teltonika: logins, every codec, every known AVL id alone at its boundaries, GPRS messages, the UDP channel, answers."""

from collections.abc import Iterator, Mapping
from typing import Any

from bench.conformance.vectors import Bad, Good, Set, expected
from protocols.checksums import crc16_arc
from protocols.codec import Frame, Peer
from protocols.teltonika import PROTOCOL
from protocols.teltonika_layouts import CODEC_13_LAYOUTS
from protocols.teltonika_session import AVL_SIZES, avl, login, message, over_udp, record

IMEI, AT = "356307042441013", 1_795_446_000_123
PEER = Peer(IMEI)
CODECS = {"8": 0x08, "8 Extended": 0x8E, "16": 0x10}
FIX = {"longitude": 69_600_000, "latitude": 509_370_000, "altitude": 53, "angle": 90, "satellites": 9, "speed": 50}
GNSS = {
    "longitude": (-1_800_000_000, -1, 0, 1, 1_800_000_000),
    "latitude": (-900_000_000, -1, 0, 1, 900_000_000),
    "altitude": (-32_768, -1, 0, 32_767),
    "angle": (0, 1, 360, 65_535),
    "satellites": (0, 255),
    "speed": (0, 65_535),
    "priority": (0, 1, 2),
}


def _avl(name: str, codec: int, *said: Mapping[str, Any], at: int = AT) -> Good:
    frame = avl(codec, [record(codec, at + 1000 * number, each) for number, each in enumerate(said)])
    data = PROTOCOL.encode(frame)
    decoded = PROTOCOL.decode(data)
    for wanted, found in zip(said, decoded.reports, strict=True):
        assert wanted.items() <= found.signals.items(), name
    return Good(name, data, expected(decoded, {"codec": codec, "answer": len(said).to_bytes(4, "big")}))


def _frame(name: str, frame: Frame, **facts: Any) -> Good:
    data = PROTOCOL.encode(frame)
    decoded = PROTOCOL.decode(data)
    assert decoded.kind == frame.kind, name
    return Good(name, data, expected(decoded, facts))


def _good() -> Iterator[Good]:
    yield _frame("login", login(IMEI), answer=b"\x01", rejected=b"\x00")
    yield _frame("keep-alive", Frame("heartbeat"))
    for title, codec in CODECS.items():
        yield _avl(f"codec {title}, minimal: one record, all zero", codec, {}, at=0)
        every = {f"io_{each}": (1 << 8 * size) - 1 for each, size in AVL_SIZES.items() if codec != 0x08 or each < 256}
        most: dict[str, Any] = {**every, **{field: values[-1] for field, values in GNSS.items()}}
        if codec == 0x8E:
            most["io_256"] = b"W1K2060461F123456"
        yield _avl(f"codec {title}, maximal: every known id at its highest", codec, most)
        yield _avl(f"codec {title}, three records", codec, FIX, {**FIX, "io_239": 1}, {**FIX, "io_239": 0, "io_16": 182_043})
        for field, values in GNSS.items():
            for value in values:
                yield _avl(f"codec {title}: {field} = {value}", codec, {**FIX, field: value})
        for event in (0, 239, 255):
            yield _avl(f"codec {title}: event {event}", codec, {**FIX, "event_id": event, "io_239": 1})
    for generation in range(8):
        yield _avl(f"codec 16: generation type {generation}", 0x10, {**FIX, "generation_type": generation})
    for each, size in sorted(AVL_SIZES.items()):
        for value in (0, 1, 1 << 8 * size - 1, (1 << 8 * size) - 1):
            yield _avl(f"id {each} alone = {value}", 0x8E, {**FIX, f"io_{each}": value})
    for size in (0, 1, 17, 255):
        yield _avl(f"a variable element of {size} bytes", 0x8E, {**FIX, "io_256": bytes(range(size))})
    yield _avl("id 65535", 0x8E, {**FIX, "io_65535": 7})
    yield _avl("255 records", 0x08, *({"satellites": 9} for _ in range(255)))
    for kind, name in ((5, "command"), (6, "response")):
        for payload in (b"", b"getinfo", bytes(range(256))):
            yield _frame(
                f"codec 12 {name}, {len(payload)} bytes", message(0x0C, kind, payload), codec=0x0C, type=kind, payload=payload
            )
    for layout in CODEC_13_LAYOUTS:
        at = 1_795_446_000 * (1000 if layout.startswith("milli") else 1)
        frame = message(0x0D, 6, b"getinfo", timestamp=at, layout=layout)
        yield _frame(f"codec 13, {layout}", frame, codec=0x0D, type=6, payload=b"getinfo", layout=layout)
    for kind, name in ((5, "command"), (6, "ack"), (0x11, "nack")):
        yield _frame(
            f"codec 14 {name}", message(0x0E, kind, b"getver", imei=IMEI), codec=0x0E, type=kind, payload=b"getver", imei=IMEI
        )
    yield _frame(
        "codec 15",
        message(0x0F, 0x0B, b"raw", imei=IMEI, timestamp=1_795_446_000),
        codec=0x0F,
        type=0x0B,
        payload=b"raw",
        imei=IMEI,
    )
    for packet, avl_packet in ((0, 0), (0xCAFE, 5), (0xFFFF, 0xFF)):
        frame = over_udp(avl(0x08, [record(0x08, AT, FIX)]), IMEI, packet, avl_packet)
        answer = PROTOCOL.answer(PROTOCOL.decode(PROTOCOL.encode(frame)), 1)
        yield _frame(
            f"UDP, packet {packet}, AVL packet {avl_packet}", frame, packet_id=packet, avl_packet_id=avl_packet, answer=answer
        )


def _again(data: bytes) -> bytes:
    """With a right CRC for what is there."""
    return data[:-4] + crc16_arc(data[8:-4]).to_bytes(4, "big")


def _bad() -> Iterator[Bad]:
    good = _avl("", 0x08, {**FIX, "io_239": 1}).data
    yield Bad("nothing", b"", "truncated")
    for size in (1, 4, 8, 9, 40, len(good) - 1):
        yield Bad(f"cut off after {size} bytes", good[:size], "truncated")
    yield Bad("a preamble of 00000001", b"\0\0\0\1" + good[4:], "bad_sync")
    yield Bad("a byte too many", good + b"\0", "bad_length")
    yield Bad("a length that says one byte less", good[:4] + (len(good) - 13).to_bytes(4, "big") + good[8:], "bad_length")
    yield Bad("a length of 2", good[:4] + (2).to_bytes(4, "big") + good[8:], "bad_length")
    yield Bad("a length of 1 MiB", good[:4] + (1 << 20).to_bytes(4, "big") + good[8:], "oversized")
    for at in (8, 10, 20, len(good) - 5, len(good) - 1):
        yield Bad(f"one bit flipped in byte {at}", good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :], "bad_checksum")
    yield Bad("the CRC in the upper two bytes", good[:-4] + good[-2:] + b"\0\0", "bad_checksum")
    yield Bad("two counts that differ", _again(good[:-5] + b"\x02" + good[-4:]), "malformed")
    yield Bad("one record more than there is", _again(good[:9] + b"\x02" + good[10:-5] + b"\x02" + good[-4:]), "bad_length")
    yield Bad("codec 7", _again(good[:8] + b"\x07" + good[9:]), "unsupported")
    yield Bad("codec 4", _again(good[:8] + b"\x04" + good[9:]), "unsupported")
    yield Bad("a total that is not the sum", _again(good[:35] + b"\x05" + good[36:]), "malformed")
    text = login(IMEI)
    hello = PROTOCOL.encode(text)
    yield Bad("an IMEI with a letter", hello[:-1] + b"A", "malformed")
    yield Bad("a login that is cut off", hello[:-1], "truncated")
    yield Bad("another unit's login", PROTOCOL.encode(login("490154203237518")), "identity_mismatch", peer=True)
    bcd = bytearray(PROTOCOL.encode(message(0x0E, 5, b"getver", imei=IMEI)))
    bcd[15] = 0xAA
    yield Bad("codec 14 with an IMEI that is no BCD", _again(bytes(bcd)), "malformed")


def vectors() -> Set:
    """All of them."""
    return Set("teltonika", {"imei": IMEI}, tuple(_good()), tuple(_bad()), PEER)
