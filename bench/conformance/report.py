"""What a run found, for machines (JSON, JUnit XML) and for people (one HTML file, the terminal)."""

import html
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

from bench.conformance.requirement import Judged
from protocols import load
from protocols.explain import explain, plain

TITLES = {"pass": "PASS", "fail": "FAIL", "not_executed": "NOT EXECUTED"}
FIELDS_LIMIT = 400


@dataclass(frozen=True)
class Outcome:
    """A finished run. `about` are facts of it for people: target, clock difference, tolerances."""

    target: str
    judged: Sequence[Judged]
    about: Mapping[str, str] = field(default_factory=dict)
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def count(self, verdict: str) -> int:
        """How many requirements have this verdict."""
        return sum(each.verdict == verdict for each in self.judged)

    def exit_code(self, *, strict: bool) -> int:
        """0 nothing failed that has to hold, 1 something did, 2 the kit failed or judged nothing."""
        if any(each.verdict == "fail" and (strict or each.requirement.level == "must") for each in self.judged):
            return 1
        nothing = all(each.verdict == "not_executed" for each in self.judged)
        return 2 if nothing or any(each.kit_failed for each in self.judged) else 0

    def document(self) -> dict[str, Any]:
        """`conform --json`."""
        return {
            "summary": {name: self.count(name) for name in ("pass", "fail", "not_executed")},
            "requirements": [each.document() for each in self.judged],
        }


def junit(outcome: Outcome) -> str:
    """JUnit XML: a test case a requirement; what failed and only should hold is a failure of type `should`."""
    suite = ElementTree.Element(
        "testsuite",
        name=f"teleloop conform {outcome.target}",
        tests=str(len(outcome.judged)),
        failures=str(outcome.count("fail")),
        skipped=str(outcome.count("not_executed")),
        errors="0",
        timestamp=outcome.began.isoformat(timespec="seconds"),
    )
    for each in outcome.judged:
        case = ElementTree.SubElement(
            suite, "testcase", classname=f"conform.{each.requirement.protocol}", name=each.requirement.id
        )
        if each.verdict == "fail":
            failure = ElementTree.SubElement(case, "failure", type=each.requirement.level, message=_clean(each.reason))
            log = "\n".join(each.log)
            failure.text = _clean(f"{each.requirement.sentence}\n{each.requirement.source}\nbytes: {each.data.hex()}\n{log}")
        elif each.verdict == "not_executed":
            ElementTree.SubElement(case, "skipped", message=_clean(f"{each.reason}; {each.todo}"))
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode")


def _clean(text: str) -> str:
    return "".join(each if each >= " " or each in "\n\t" else "\ufffd" for each in text)


STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:#1c1e21;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
td,th{text-align:left;vertical-align:top;padding:.3rem .6rem;border-bottom:1px solid #ddd}
code,pre{font:13px/1.4 ui-monospace,monospace}pre{background:#f5f6f7;padding:.6rem;overflow-x:auto;
white-space:pre-wrap;word-break:break-all}
.pass{color:#116329}.fail{color:#b3261e;font-weight:600}.not_executed{color:#7a5900}
.should{font-size:.85em;color:#57606a}details{margin:.3rem 0}
@media (prefers-color-scheme:dark){body{background:#16181b;color:#e6e6e6}td,th{border-color:#333}pre{background:#22252a}
.pass{color:#6fdd8b}.fail{color:#ff8a80}.not_executed{color:#ffcf5c}}
"""


def page(outcome: Outcome) -> str:
    """One HTML file with everything in it; frames that broke a requirement are explained field by field."""
    order = {"fail": 0, "not_executed": 1, "pass": 2}
    counts = ", ".join(f"{outcome.count(name)} {title}" for name, title in TITLES.items())
    about = {"target": outcome.target, "begun": outcome.began.isoformat(timespec="seconds"), "Python": platform.python_version()}
    facts = "".join(f"<tr><th>{_e(name)}</th><td>{_e(value)}</td></tr>" for name, value in (about | dict(outcome.about)).items())
    failed = [each for each in outcome.judged if each.verdict == "fail"]
    details = "".join(_failure(each) for each in failed)
    rows = "".join(_row(each) for each in sorted(outcome.judged, key=lambda each: order[each.verdict]))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Conformance: {_e(outcome.target)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style><h1>Conformance: {_e(outcome.target)}</h1>'
        f"<p><strong>{_e(counts)}</strong></p><table>{facts}</table>"
        + (f"<h2>What failed</h2>{details}" if failed else "")
        + "<h2>Every requirement</h2><table><tr><th>id</th><th>verdict</th><th>requirement</th><th>why</th></tr>"
        + rows
        + "</table></html>\n"
    )


def _e(text: object) -> str:
    return html.escape(str(text))


def _row(each: Judged) -> str:
    requirement = each.requirement
    why = _e(each.reason) + (f"<br><em>{_e(each.todo)}</em>" if each.todo else "")
    level = "" if requirement.level == "must" else ' <span class="should">should</span>'
    name = f'<a href="#{requirement.id}">{requirement.id}</a>' if each.verdict == "fail" else requirement.id
    return (
        f'<tr><td><code>{name}</code>{level}</td><td class="{each.verdict}">{TITLES[each.verdict]}</td>'
        f'<td>{_e(requirement.sentence)}<br><span class="should">{_e(requirement.source)}</span></td><td>{why}</td></tr>'
    )


def _failure(each: Judged) -> str:
    parts = [f'<h3 id="{each.requirement.id}">{each.requirement.id}: {_e(each.requirement.sentence)}</h3>']
    parts.append(f"<p>expected <strong>{_e(each.expected)}</strong>, seen <strong class='fail'>{_e(each.seen)}</strong></p>")
    if each.data:
        parts.append(f"<pre>{each.data.hex(' ')}</pre>{_explained(each)}")
    if each.log:
        parts.append(f"<details><summary>the log around it</summary><pre>{_e(chr(10).join(each.log))}</pre></details>")
    return "".join(parts)


def _explained(each: Judged) -> str:
    protocol = load().get(each.protocol)
    if protocol is None:
        return ""
    rows = []
    for said in explain(each.data, protocol):
        if said.error is not None:
            guess = f", best guess: {said.error.guess}" if said.error.guess else ""
            rows.append(f'<tr><td class="fail" colspan="5">{_e(said.error)}{_e(guess)}</td></tr>')
        for field_ in said.fields[:FIELDS_LIMIT]:
            cells = (
                field_.offset,
                field_.raw.hex(" ")[:96],
                field_.name or "not read",
                plain(field_.value),
                f"{field_.unit} {field_.meaning}".strip(),
            )
            rows.append("<tr>" + "".join(f"<td><code>{_e(cell)}</code></td>" for cell in cells) + "</tr>")
    head = "<tr><th>offset</th><th>bytes</th><th>field</th><th>value</th><th>meaning</th></tr>"
    return f"<details><summary>the frame, byte by byte</summary><table>{head}{''.join(rows)}</table></details>"


def summary(outcome: Outcome) -> str:
    """One line for the terminal."""
    levels = Counter(each.requirement.level for each in outcome.judged if each.verdict == "fail")
    should = f" (of these {levels['should']} only should hold)" if levels["should"] else ""
    said = f"{outcome.count('pass')} PASS, {outcome.count('fail')} FAIL{should}, {outcome.count('not_executed')} NOT EXECUTED"
    return f"{outcome.target}: {said}"
