"""`protocols/cloudboxx.md`, written from the declarations: `python -m protocols.page > protocols/cloudboxx.md`."""

from collections.abc import Iterator

from construct import Construct

from protocols.cloudboxx import BODIES, CODES, FRAME_LIMIT_BYTES, OVERHEAD_BYTES, SIGNALS

INTRODUCTION = f"""# CloudBoxx wire format, version 1

Generated from `protocols/cloudboxx.py`; do not edit. Bit numbers, widths and units are frozen.

One MQTT payload carries one or more frames back to back. All integers are little-endian. A frame is at most
{FRAME_LIMIT_BYTES} bytes, {OVERHEAD_BYTES} of them around the body.

| offset | bytes | field |
|---|---|---|
| 0 | 2 | sync `CB 01`, the version in the second byte |
| 2 | 1 | type |
| 3 | 1 | flags, set at capture and never changed after: bit 1 driving, bit 2 clock unsynchronised |
| 4 | 8 | QNR |
| 12 | 4 | sequence, counts up by one a frame, kept over reboots; 0 on the way down |
| 16 | 4 | captured at, Unix seconds |
| 20 | 2 | captured at, milliseconds (0 to 999) |
| 22 | 2 | n, the length of the body |
| 24 | n | body |
| 24 + n | 8 | seal: HMAC-SHA-256 under K_seal over all bytes before it, leftmost 8 |
| 32 + n | 2 | CRC-16/CCITT-FALSE over all bytes before it |

Checked in the order sync, length, CRC, identity, seal, body. What makes a report that report and no other, and so its event's
id, is its *record*: type, sequence, time, length and body.
"""


def page() -> str:
    """The whole page as Markdown."""
    return "\n".join([INTRODUCTION, *_types(), *_signals()]) + "\n"


def _types() -> Iterator[str]:
    yield "## Frame types\n\n| type | name | direction | body |\n|---|---|---|---|"
    for kind, body in BODIES.items():
        code = CODES[kind]
        direction = "down" if code & 0x80 else "up"
        yield f"| {code:02X} | {kind} | {direction} | {_said(kind, body)} |"
    yield ""


def _said(kind: str, body: "Construct[object, object]") -> str:
    if kind in ("state", "event"):
        return "u64 presence bitmap, then the present signals in the order of their bits"
    if kind in ("result", "command"):
        return "a command envelope (VTC1)"
    return ", ".join(f"{field.name} {_width(field)}" for field in body.subcons)


def _width(field: "Construct[object, object]") -> str:
    inner = field.subcon
    if hasattr(inner, "subcons"):
        return "(" + ", ".join(f"{part.name} {_width(part)}" for part in inner.subcons) + ")"
    fmtstr = getattr(inner, "fmtstr", None)
    if fmtstr is None:
        return f"{inner.sizeof()} bytes"
    return ("i" if fmtstr[-1].islower() else "u") + str(8 * inner.length)


def _signals() -> Iterator[str]:
    yield "## Signals\n\n| bit | signal | type | unit | meaning |\n|---|---|---|---|---|"
    for signal in SIGNALS:
        form = ("i" if signal.form.fmtstr[-1].islower() else "u") + str(8 * signal.form.length)
        states = "; from the lowest bits: " + ", ".join(signal.states) if signal.states else ""
        yield f"| {signal.bit} | `{signal.name}` | {form} | {signal.unit} | {signal.meaning}{states} |"


if __name__ == "__main__":
    print(page(), end="")
