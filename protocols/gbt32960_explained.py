"""GB/T 32960.3 frames for people: what is read of them however broken they are, and their check character.

What the fields mean stands in gbt32960_meanings.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from construct import Int8ub, Struct

from protocols.checksums import bcc
from protocols.codec import ProtocolError, parse
from protocols.gbt32960_framing import EDITIONS, OVERHEAD_BYTES
from protocols.gbt32960_items import CUSTOM_TYPES
from protocols.gbt32960_layouts import ANSWERS, COMMANDS, ENCRYPTED, HEADER, HEADER_SIZE_BYTES, TIME, TIMED, UNTIMED_2016
from protocols.gbt32960_signals import EXTENSION, EXTENSION_MAGIC

CHECK = Struct("bcc" / Int8ub)
COMMAND, PLAIN = 0xFE, 0x01


def read(data: bytes) -> None:
    """Read a frame as what its header says it is, checking nothing. Raises ProtocolError where the header ends too soon."""
    head = parse(HEADER, data[:HEADER_SIZE_BYTES])
    edition = EDITIONS.get(head.start)
    if edition is None:
        return
    end = HEADER_SIZE_BYTES + head.length
    if _ends_in_check(data):
        end = len(data) - 1
        parse(CHECK, data[end:], end)
    content = data[HEADER_SIZE_BYTES:end]
    for declaration in _candidates(edition, head, content):
        try:
            body = parse(declaration, content, HEADER_SIZE_BYTES, "body")
        except ProtocolError:
            continue
        _read_extensions(body.get("items", ()), content)
        return


def _candidates(edition: int, head: Any, content: bytes) -> Iterator[Any]:
    """What may declare the data unit, the likeliest first."""
    if head.encryption != PLAIN:
        yield ENCRYPTED
    elif head.command in COMMANDS[edition]:
        if head.flag == COMMAND:
            yield COMMANDS[edition][head.command]
        elif len(content) == TIME.sizeof():
            yield TIMED
        elif content:
            yield ANSWERS[edition][head.command]
            yield UNTIMED_2016


def _read_extensions(items: Any, content: bytes) -> None:
    at = 0
    for number, item in enumerate(items):
        if item.type not in CUSTOM_TYPES or not item.body.content.startswith(EXTENSION_MAGIC):
            continue
        at = content.find(item.body.content, at)
        with suppress(ProtocolError):
            parse(EXTENSION, item.body.content, HEADER_SIZE_BYTES + at, f"body.items.{number}.extension")
        at += len(item.body.content)


def _ends_in_check(data: bytes) -> bool:
    """Whether the last byte is the check character, by the length field or because it holds there."""
    if len(data) < OVERHEAD_BYTES:
        return False
    return OVERHEAD_BYTES + int.from_bytes(data[22:24], "big") == len(data) or bcc(data[2:-1]) == data[-1]


def checksum(data: bytes) -> Mapping[str, str] | None:
    """The block check character at the end (clause 6.2, table 2)."""
    if data[:2] not in EDITIONS or not _ends_in_check(data):
        return None
    return {"name": "BCC (XOR)", "expected": f"{bcc(data[2:-1]):02x}", "found": data[-1:].hex()}
