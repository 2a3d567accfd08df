"""Encoders of the public protocols that share nothing with ours: written with struct, from the protocols' own descriptions."""

import struct
from collections.abc import Sequence
from functools import reduce
from operator import xor

Element = tuple[int, int, int]
"""An IO element: AVL id, value, bytes of the value."""


def crc_arc(data: bytes) -> int:
    """Bit by bit: polynomial 0x8005 reflected, from 0."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return crc


def crc_ccitt(data: bytes, start: int = 0xFFFF) -> int:
    """Bit by bit: polynomial 0x1021, not reflected."""
    crc = start
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021) & 0xFFFF if crc & 0x8000 else crc << 1 & 0xFFFF
    return crc


# Teltonika ---------------------------------------------------------------------------------------------------------------


def tcp(data: bytes, crc: int | None = None) -> bytes:
    """Preamble, length, data, CRC."""
    return bytes(4) + struct.pack(">I", len(data)) + data + struct.pack(">I", crc_arc(data) if crc is None else crc)


def udp(data: bytes, imei: bytes, packet_id: int = 0xCAFE, avl_packet_id: int = 5) -> bytes:
    """A packet of the UDP channel, without a CRC."""
    body = struct.pack(">HBBH", packet_id, 1, avl_packet_id, len(imei)) + imei + data
    return struct.pack(">H", len(body)) + body


def avl_record(
    codec: int,
    at: int,
    gnss: Sequence[int],
    event: int = 0,
    elements: Sequence[Element] = (),
    texts: Sequence[tuple[int, bytes]] = (),
    priority: int = 0,
    generation: int = 7,
) -> bytes:
    """`gnss`: longitude, latitude (1e-7 degree), altitude, angle, satellites, speed."""
    wide, counts = codec != 0x08, ">H" if codec == 0x8E else ">B"
    said = struct.pack(">QB", at, priority) + struct.pack(">iihHBH", *gnss)
    said += struct.pack(">H" if wide else ">B", event)
    said += bytes([generation]) if codec == 0x10 else b""
    said += struct.pack(counts, len(elements) + len(texts))
    for size in (1, 2, 4, 8):
        group = [element for element in elements if element[2] == size]
        said += struct.pack(counts, len(group))
        for number, value, _ in group:
            said += struct.pack(">H" if wide else ">B", number) + value.to_bytes(size, "big")
    if codec == 0x8E:
        said += struct.pack(">H", len(texts))
        for number, text in texts:
            said += struct.pack(">HH", number, len(text)) + text
    return said


def avl_data(codec: int, records: Sequence[bytes]) -> bytes:
    """Codec id, count, records, count."""
    return bytes([codec, len(records)]) + b"".join(records) + bytes([len(records)])


def message(codec: int, kind: int, payload: bytes, *, size: int | None = None, head: bytes = b"") -> bytes:
    """A GPRS message; `head` is what stands between size and payload, counted in the size unless `size` says otherwise."""
    counted = len(head) + len(payload) if size is None else size
    return bytes([codec, 1, kind]) + struct.pack(">I", counted) + head + payload + b"\1"


# GB/T 32960.3 ------------------------------------------------------------------------------------------------------------

VIN = b"LSVAU2A37N2123456"
TIME = bytes([26, 1, 30, 21, 22, 5])
"""2026-01-30 21:22:05 in Beijing."""
TIME_MS = 1_769_779_325_000


def gb(
    command: int,
    data: bytes = b"",
    *,
    flag: int = 0xFE,
    vin: bytes = VIN,
    encryption: int = 1,
    start: bytes = b"##",
    length: int | None = None,
) -> bytes:
    """A frame with its check character."""
    body = bytes([command, flag]) + vin.ljust(17, b"\0") + bytes([encryption])
    body += struct.pack(">H", len(data) if length is None else length) + data
    return start + body + bytes([reduce(xor, body)])


# AutoAPI -----------------------------------------------------------------------------------------------------------------


def component(number: int, data: bytes) -> bytes:
    """A component of a property: 1 data, 2 time, 3 failure, 5 availability."""
    return bytes([number]) + struct.pack(">H", len(data)) + data


def prop(number: int, *components: bytes) -> bytes:
    """A property."""
    data = b"".join(components)
    return bytes([number]) + struct.pack(">H", len(data)) + data


def said(number: int, data: bytes, at: int | None = None) -> bytes:
    """A property with data, and the time it was so."""
    return prop(number, component(1, data), *([] if at is None else [component(2, struct.pack(">Q", at))]))


def measured(measurement: int, unit: int, value: float) -> bytes:
    """A measured value."""
    return bytes([measurement, unit]) + struct.pack(">d", value)


def autoapi(capability: int, *properties: bytes, kind: int = 1, version: int = 0x0D) -> bytes:
    """A message."""
    return bytes([version]) + struct.pack(">H", capability) + bytes([kind]) + b"".join(properties)
