"""`python -m bench.conformance.pages`: docs/conformance.md, made of the tables of requirements and the register of checks."""

# ruff: noqa: E501 - sentences for people stand on one line

import sys
from collections.abc import Iterator
from pathlib import Path

from bench.conformance.requirement import Requirement, name_of, proofs, requirements

TITLES = {
    "cloudboxx": "CloudBoxx",
    "vtc": "VTC1, the command envelope",
    "teltonika": "Teltonika",
    "gbt32960": "GB/T 32960.3",
    "autoapi": "AutoAPI level 13",
    "oneapi": "The gateway's face: MQTT, REST, AMQP",
    "consumer": "Event consumers",
}
TARGETS = {"frame": "`frames`", "unit": "`unit`", "gateway": "`gateway`", "consumer": "`consumer`"}
HEAD = """# Conformance

<!-- Made by `python -m bench.conformance.pages`. -->

`teleloop conform` judges captured frames, a unit, a gateway or an event consumer by numbered requirements. Each has a sentence, a
level (**must**: a failure fails the run; *should*: it is reported, and fails the run only with `--strict`), a source, and a check.

```sh
teleloop conform frames capture.pcap --units units.json --html report.html
teleloop conform unit --brand CLOUDBOXX --id 0123456789ABCDEF --units units.json --listen 127.0.0.1:1884
teleloop conform unit --brand TELTONIKA --id 356307042441013 --tcp 0.0.0.0:5027 --command-key KEY
teleloop conform gateway --url http://127.0.0.1:8080 --broker mqtt://127.0.0.1:1883 --client ID:SECRET
teleloop conform consumer --amqp-url amqp://... --queue copy --state-url 'http://127.0.0.1:9000/{vehicle_id}'
```

| verdict | means |
|---|---|
| PASS | it was looked at, and holds |
| FAIL | it does not hold: what was expected, what was seen, the bytes, and the log around it |
| NOT EXECUTED | it could not be judged: why, and what to do so that it can. A broker's doing is never a gateway's FAIL |

`--only` takes ids, globs and levels; `--list` lists, `--explain ID` explains, `--lint` says which requirement has no check, which check no
requirement. Reports: `--html` (one file, frames explained field by field), `--junit`, `--json`
(`{"summary": {"pass", "fail", "not_executed"}, "requirements": [{"id", "level", "verdict", "reason", "evidence"}]}`; a verdict is `pass`, `fail` or
`not_executed`). Exit code: 0 what has to hold holds, 1 something does not, 2 usage or set-up, or nothing could be judged.

Clocks are measured first, and the difference stands in the report; `--tolerance`, `--timeout` and `--silence` say how much is borne and waited.

**Frames** come as hex (a payload a line), pcap or pcapng of MQTT over TCP (Ethernet, Linux cooked, loopback, raw IP; put together again
whatever the network did), or recordings of `teleloop record`. Topics tell brand, unit and direction.

**A unit** connects to the kit, which plays its gateway. By MQTT with `--listen` the kit is the server itself and sees CONNECT, SUBSCRIBE and QoS;
with `--broker` both are clients of a broker; with `--tcp` it is a plain connection. `--simulated` tries the simulated unit of this installation with a
virtual clock. The kit logs it in, lets it report, cuts the line, withholds acknowledgements, and sends commands good, late, replayed, forged, and for
another unit; `--power-command` switches it off and on. TLS is not spoken by the kit as a server.

**A gateway** is any with this contract. The kit adds vehicles of its own by REST (tag `teleloop-conform`, archived at the end), plays their units at the broker, and
reads events by AMQP (`--amqp-url`) or `GET /events`.

**An event consumer** is fed a made fleet through its queue; its copy is asked for by HTTP (`--state-url`) or a Python function (`--callback`). The example
`bench/conformance/example_consumer.py` passes.
"""


def page() -> str:
    """The page."""
    return "\n".join([HEAD, *_summary(), *(line for protocol in TITLES for line in _section(protocol))]) + "\n"


def _of(protocol: str) -> list[Requirement]:
    return [each for each in requirements().values() if each.protocol == protocol]


def _summary() -> Iterator[str]:
    yield "| | requirements | frame | unit | gateway | consumer |"
    yield "|---|---|---|---|---|---|"
    for protocol, title in TITLES.items():
        found = _of(protocol)
        sides = " | ".join(str(sum(each.side == side for each in found) or "") for side in TARGETS)
        yield f"| {title} | {len(found)} | {sides} |"
    yield ""


def _section(protocol: str) -> Iterator[str]:
    yield f"## {TITLES[protocol]}\n"
    yield "| id | level | binds | requirement | source | check | status |"
    yield "|---|---|---|---|---|---|---|"
    for each in _of(protocol):
        check = proofs().get(each.id)
        needs = f" *Needs: {each.precondition}.*" if each.precondition else ""
        level = "**must**" if each.level == "must" else "*should*"
        status = "checked" if check else "no check"
        cells = (each.id, level, each.side, each.sentence + needs, each.source, f"`{name_of(check)}`" if check else "", status)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""


def main() -> int:
    """Write docs/conformance.md."""
    Path(sys.argv[1] if len(sys.argv) > 1 else "docs/conformance.md").write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
