"""`teleloop decode`: a frame explained byte by byte, with the first thing that is wrong."""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.decode_bulk import decode_bulk
from gateway.decode_recording import Messages, holds_a_recording
from gateway.decoding import Decoded, decoded, protocol_names
from gateway.registry.errors import BrandUnknown, ModelUnknown
from modeldb import ModelError
from protocols.explain import Explanation, Field, plain

FAILED, USAGE = 1, 2
INPUT_LIMIT_BYTES = 4 << 20
PIPE_WIDTH = 200
"""Columns of a table that no terminal bounds."""

RAW_SHOWN_BYTES = 16
VALUE_SHOWN_CHARACTERS = 60

_BETWEEN = re.compile(r"0[xX]|\\x|[\s:,;_\-\[\]{}()\"']")
_TEXT = re.compile(rb"[\t\n\r\x20-\x7e]*")

app = typer.Typer()


@app.command(epilog="Example: teleloop decode 0d00200106000401000101 --model EQA")
def decode(
    frame: Annotated[
        str, typer.Argument(metavar="HEX|FILE|-", help="Hex digits; a file: hex, a payload a line, or binary; stdin.")
    ],
    protocol: Annotated[str | None, typer.Option(help=f"{', '.join(protocol_names())}. Without: guessed.")] = None,
    brand: Annotated[str | None, typer.Option(help="The brand of the unit: tells the protocol.")] = None,
    model: Annotated[str | None, typer.Option(help="A vehicle model, by name or id: also shows the vehicle state.")] = None,
    year: Annotated[int | None, typer.Option(help="A year in which the model was built.")] = None,
    key: Annotated[str | None, typer.Option(help="The unit's K_seal in hex: also checks the seals.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout; of several frames a list.")] = False,
    bulk: Annotated[bool, typer.Option("--bulk", help="Decode a capture, as fast as it goes, and count what it holds.")] = False,
) -> None:
    """Explain a frame byte by byte. Exit code 0: all is well; 1: a frame is bad; 2: usage.

    Spaces, line breaks, colons, brackets, 0x and \\x between the digits do not matter. Several frames in a row are told
    apart. A recording of `teleloop record` is explained message by message. With --bulk, FILE is a capture: a recording, JSON
    lines with topic and payload, hex lines, or frames back to back.
    """
    try:
        seal_key = None if key is None else unhexed(key)
        meant = {"protocol": protocol, "brand": brand, "model": model, "year": year, "key": seal_key}
        if bulk:
            if not decode_bulk(Path(frame), meant, as_json):
                raise typer.Exit(FAILED)
            return
        if _is_file(frame) and holds_a_recording(Path(frame)):
            _decode_recording(Messages(Path(frame), meant), as_json)
            return
        found = _decoded(_payloads(frame), meant)
    except ModelUnknown as error:
        candidates = [f"  {each.id}  {each.title}, from {each.start_of_production}" for each in error.candidates]
        _stop("\n".join([str(error), *candidates]))
    except (BrandUnknown, ModelError, OSError, ValueError) as error:
        _stop(str(error))
    if as_json:
        documents = [each.document() for each in found]
        typer.echo(json.dumps(documents[0] if len(documents) == 1 else documents, indent=2, ensure_ascii=False))
    else:
        _print(found)
    if not all(each.ok for each in found):
        raise typer.Exit(FAILED)


def _decode_recording(messages: Messages, as_json: bool) -> None:
    """Message by message, however long it is. A torn end or a damaged stretch is said, and is no failure of a frame."""
    ok, separator = True, "[\n"
    for message in messages:
        ok = ok and all(each.ok for each in message.frames)
        if not as_json:
            typer.secho(message.title, bold=True)
            _print(message.frames)
            typer.echo("")
            continue
        for document in message.documents():
            typer.echo(separator + json.dumps(document, ensure_ascii=False), nl=False)
            separator = ",\n"
    if as_json:
        typer.echo("[]" if separator == "[\n" else "\n]")
    for error in messages.damage:
        typer.echo(f"from byte {error.offset} of the recording: {error.found or error.reason}; it is left out", err=True)
    if not ok:
        raise typer.Exit(FAILED)


def _stop(sentence: str) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(USAGE)


# What is to be decoded ---------------------------------------------------------------------------------------------------


def unhexed(text: str) -> bytes:
    """The bytes of hex digits, whatever stands between them. Raises ValueError with a sentence for people."""
    digits = _BETWEEN.sub("", text)
    if strange := re.search(r"[^0-9a-fA-F]", digits):
        raise ValueError(f"{strange[0]!r} is no hex digit")
    if len(digits) % 2:
        raise ValueError(f"{len(digits)} hex digits: half a byte is missing")
    if not digits:
        raise ValueError("there is nothing to decode")
    return bytes.fromhex(digits)


def _payloads(frame: str) -> list[bytes]:
    if frame == "-":
        return _contents(sys.stdin.buffer.read(INPUT_LIMIT_BYTES + 1))
    if _is_file(frame):
        with Path(frame).open("rb") as file:
            return _contents(file.read(INPUT_LIMIT_BYTES + 1))
    try:
        return [unhexed(frame)]
    except ValueError as error:
        raise ValueError(f"neither hex ({error}) nor a file: {frame[:VALUE_SHOWN_CHARACTERS]}") from error


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # longer than a name can be, or with a NUL
        return False


def _contents(data: bytes) -> list[bytes]:
    """Text is hex, a payload a line; anything else is one payload."""
    if len(data) > INPUT_LIMIT_BYTES:
        raise ValueError(f"more than {INPUT_LIMIT_BYTES} bytes to decode")
    if not _TEXT.fullmatch(data) or not data:
        return [data] if data else [unhexed("")]
    lines = [line for line in data.decode("ascii").splitlines() if line.strip()]
    try:
        payloads = [unhexed(line) for line in lines]
    except ValueError:
        return [unhexed(" ".join(lines))]
    return payloads or [unhexed("")]


def _decoded(payloads: Sequence[bytes], meant: dict[str, Any]) -> list[Decoded]:
    """Every frame of every payload. Lines of a dump that only make sense together are one payload."""
    found = [each for payload in payloads for each in decoded(payload, **meant)]
    if len(payloads) > 1 and not any(each.ok for each in found):
        together = decoded(b"".join(payloads), **meant)
        if all(each.ok for each in together):
            return together
    return found


# For people --------------------------------------------------------------------------------------------------------------


def _print(found: Sequence[Decoded]) -> None:
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    for number, each in enumerate(found):
        if number:
            console.print()
        for part in _shown(each):
            console.print(part)


def _shown(each: Decoded) -> Iterator[Text | Table]:
    said = each.explanation
    yield Text(_title(said), style="bold")
    if said.error is not None:
        yield from _wrong(said)
    if said.checksum is not None:
        expected, found = said.checksum["expected"], said.checksum["found"]
        style = "green" if expected == found else "red"
        yield Text(f"{said.checksum['name']}: expected {expected}, found {found}", style=style)
    yield _fields(said)
    if each.made:
        yield Text()
        yield _rules(each)


def _title(said: Explanation) -> str:
    kind = said.frame.kind if said.frame else "no frame"
    unit = f" of {said.frame.unit}" if said.frame and said.frame.unit else ""
    place = f", from byte {said.offset}" if said.offset else ""
    return f"{said.protocol}: {kind}{unit}, {len(said.data)} bytes{place}"


def _wrong(said: Explanation) -> Iterator[Text]:
    assert said.error is not None
    where = f" ({said.error.field})" if said.error.field else ""
    yield Text(f"{said.error.reason} at byte {said.error.offset}{where}", style="bold red")
    for label, text in (("expected", said.error.expected), ("found", said.error.found), ("best guess", said.error.guess)):
        if text:
            yield Text(f"  {label}: {text}", style="red")


def _fields(said: Explanation) -> Table:
    table = Table("offset", "bytes", "name", "value", "meaning", "unit", box=None, pad_edge=False)
    table.columns[0].justify = "right"
    wrong_at = -1 if said.error is None else said.error.offset
    for field in said.fields:
        wrong = field.offset <= wrong_at < field.offset + field.size
        style = "red" if wrong else "dim" if not field.name else ""
        cells = (str(field.offset), _raw(field), field.name, _value(field), field.meaning, field.unit)
        table.add_row(*(Text(cell) for cell in cells), style=style)
    return table


def _raw(field: Field) -> str:
    shown = field.raw[:RAW_SHOWN_BYTES].hex(" ")
    return f"{shown} ... {field.size} bytes" if field.size > RAW_SHOWN_BYTES else shown


def _value(field: Field) -> str:
    text = str(plain(field.value))
    return "" if not field.name else text if len(text) <= VALUE_SHOWN_CHARACTERS else f"{text[: VALUE_SHOWN_CHARACTERS - 3]}..."


def _rules(each: Decoded) -> Table:
    title = f"{each.model.title}, {each.model.file}" if each.model else ""
    table = Table("property", "value", "raw", "rule", box=None, pad_edge=False, title=title, title_justify="left")
    for made in each.made:
        value = f"({made.silence})" if made.value is None else f"{_plain(made.value)} {made.unit}".strip()
        raw = ", ".join(f"{name}={raw}" for name, raw in made.raw.items())
        table.add_row(*(Text(cell) for cell in (made.key, value, raw, made.rule)))
    return table


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
