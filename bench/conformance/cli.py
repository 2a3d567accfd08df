"""`teleloop conform`: whether captured frames, a unit, a gateway or an event consumer keep to their numbered requirements."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from bench.conformance import report
from bench.conformance.captures import CaptureFileError, Captures, Keys, Reading, protocol_of, read_file
from bench.conformance.requirement import Judged, Requirement, lint, name_of, proofs, requirements, select
from bench.conformance.run import EngineMissing, judge
from bench.outputs import writable
from devices.unitsfile import UnitsFileError, read_units
from protocols.codec import UnitId

USAGE = 2

app = typer.Typer(no_args_is_help=False)
conform = typer.Typer(no_args_is_help=False, invoke_without_command=True)
app.add_typer(conform, name="conform")
console = Console(stderr=True, highlight=False, markup=False, emoji=False)

Only = Annotated[list[str] | None, typer.Option(help="Ids, globs of ids (CBX-*), or levels (must, should); several by comma.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Html = Annotated[Path | None, typer.Option("--html", help="Write the report for people here.", dir_okay=False)]
Junit = Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML here.", dir_okay=False)]
Strict = Annotated[bool, typer.Option(help="What only should hold counts for the exit code too.")]
ListOnly = Annotated[bool, typer.Option("--list", help="List the requirements instead of judging.")]
UnitsFile = Annotated[
    Path | None,
    typer.Option("--units", help="JSON with the units' secrets, as `teleloop fleet` takes it.", exists=True, dir_okay=False),
]
Tolerance = Annotated[float, typer.Option(min=0, help="Seconds that a clock or an interval may be off.")]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds to wait for what has to come.")]


@conform.callback(epilog="Example: teleloop conform frames capture.pcap --html report.html")
def group(
    context: typer.Context,
    list_: Annotated[bool, typer.Option("--list", help="List every requirement.")] = False,
    explain: Annotated[str | None, typer.Option(help="Explain one requirement: `--explain CBX-STATE-001`.", metavar="ID")] = None,
    do_lint: Annotated[
        bool, typer.Option("--lint", help="Say which requirement has no check, which check no requirement.")
    ] = False,
    only: Only = None,
    as_json: AsJson = False,
) -> None:
    """Numbered requirements for frames, units, gateways and event consumers.

    Exit code: 0 they hold, 1 one fails, 2 usage or set-up.
    """
    if context.invoked_subcommand is not None:
        return
    if do_lint:
        _lint(as_json)
    elif explain is not None:
        _explain(explain, as_json)
    elif list_ or only or as_json:
        _list(_selected(list(requirements().values()), only), as_json)
    else:
        typer.echo(context.get_help())


def stop(sentence: str) -> NoReturn:
    """End with one sentence: usage or set-up."""
    typer.echo(sentence, err=True)
    raise typer.Exit(USAGE)


def _selected(among: Sequence[Requirement], only: Sequence[str] | None) -> list[Requirement]:
    try:
        found = select(among, only or ())
    except ValueError as error:
        stop(str(error))
    if not found:
        stop("no requirement of this target is called so; `--list` shows them")
    return found


def _facts(each: Requirement) -> dict[str, Any]:
    check = proofs().get(each.id)
    facts = {name: getattr(each, name) for name in ("id", "level", "side", "protocol", "sentence", "source", "precondition")}
    return facts | {"check": name_of(check) if check else None}


def _list(found: Sequence[Requirement], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([_facts(each) for each in found], indent=1, ensure_ascii=False))
        return
    table = Table("id", "level", "binds", "requirement", box=None, pad_edge=False)
    for each in found:
        table.add_row(each.id, each.level, each.side, each.sentence)
    out = Console(highlight=False, markup=False, emoji=False)
    out.width = out.width if out.is_terminal else 200
    out.print(table)


def _explain(name: str, as_json: bool) -> None:
    found = requirements().get(name.upper())
    if found is None:
        stop(f"there is no requirement {name}; `teleloop conform --list` shows them")
    facts = _facts(found)
    if as_json:
        typer.echo(json.dumps(facts, indent=1, ensure_ascii=False))
        return
    words = {"must": "has to hold", "should": "should hold: a failure is reported, and fails the run only with --strict"}
    typer.echo(f"{found.id} ({found.level}: {words[found.level]})\n\n{found.sentence}\n")
    for label, value in (
        ("binds", found.side),
        ("source", found.source),
        ("needs", found.precondition),
        ("check", facts["check"]),
    ):
        if value:
            typer.echo(f"  {label:7} {value}")
    check = proofs().get(found.id)
    if check is not None and check.__doc__:
        typer.echo(f"\n{check.__doc__}")


def _lint(as_json: bool) -> None:
    found = lint()
    if as_json:
        typer.echo(json.dumps({"requirements": len(requirements()), "checks": len(proofs()), "wrong": found}, indent=1))
    else:
        for sentence in found:
            typer.echo(sentence)
        console.print(f"{len(requirements())} requirements, {len(proofs())} checked, {len(found)} wrong")
    raise typer.Exit(1 if found else 0)


def finish(
    target: str,
    wanted: Sequence[Requirement],
    evidence: Any,
    about: Callable[[], dict[str, str]],
    *,
    as_json: bool,
    html: Path | None,
    junit: Path | None,
    strict: bool,
) -> NoReturn:
    """Judge, report, and end the program with the exit code that follows."""
    try:
        writable(html, junit)
    except OSError as error:
        stop(str(error))
    columns = (TextColumn("{task.description:18}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("", total=len(wanted))

            def judged(each: Judged) -> None:
                progress.update(task, advance=1, description=each.requirement.id)

            outcome = report.Outcome(target, judge(wanted, evidence, judged))
    except EngineMissing as error:
        stop(str(error))
    outcome = report.Outcome(target, outcome.judged, about(), outcome.began)
    try:
        if html is not None:
            html.write_text(report.page(outcome), encoding="utf-8")
        if junit is not None:
            junit.write_text(report.junit(outcome), encoding="utf-8")
    except OSError as error:
        stop(str(error))
    if as_json:
        sys.stdout.write(json.dumps(outcome.document(), indent=1, ensure_ascii=False) + "\n")
    else:
        _print(outcome)
    raise typer.Exit(outcome.exit_code(strict=strict))


def _print(outcome: report.Outcome) -> None:
    out = Console(highlight=False, markup=False, emoji=False)
    out.width = out.width if out.is_terminal else 160
    styles = {"pass": "green", "fail": "bold red", "not_executed": "yellow"}
    for each in outcome.judged:
        if each.verdict == "pass":
            continue
        level = " (should)" if each.requirement.level == "should" else ""
        out.print(Text.assemble((report.TITLES[each.verdict], styles[each.verdict]), f" {each.requirement.id}{level}: "), end="")
        out.print(each.requirement.sentence)
        out.print(f"  {each.reason}" + (f"; {each.todo}" if each.todo else ""))
        if each.verdict == "fail" and each.data:
            out.print(f"  bytes {each.data.hex()}", soft_wrap=True)
        for line in each.log if each.verdict == "fail" else ():
            out.print(f"    | {line[:200]}", soft_wrap=True)
    for name, value in outcome.about.items():
        out.print(f"{name}: {value}")
    out.print(report.summary(outcome))


def key_bytes(text: str, option: str, size: int = 32) -> bytes:
    """A key as hex. Ends the program if it is none."""
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != size:
        stop(f"{option}: {2 * size} hex digits are wanted")
    return found


def known_keys(units: Path | None, seal_key: str | None, command_key: str | None, generation: int, unit: str = "") -> Keys:
    """The secrets that were given. Ends the program where they are none."""
    seal: dict[str, bytes] = {}
    command: dict[str, dict[int, bytes]] = {}
    try:
        for record in read_units(units) if units else ():
            seal[record.telematics_unit_id] = bytes.fromhex(record.seal_key)
            command[record.telematics_unit_id] = {record.generation: bytes.fromhex(record.command_key)}
    except UnitsFileError as error:
        stop(str(error))
    if seal_key is not None:
        seal[unit] = key_bytes(seal_key, "--seal-key")
    if command_key is not None:
        command[unit] = {generation: key_bytes(command_key, "--command-key")}
    return Keys(seal, command)


@conform.command(epilog="Example: teleloop conform frames capture.pcapng --units units.json --html report.html")
def frames(
    files: Annotated[
        list[Path], typer.Argument(help="Hex (a payload a line), pcap or pcapng of MQTT, recordings.", metavar="FILE...")
    ],
    brand: Annotated[str | None, typer.Option(help="Brand or protocol of what does not say it itself; without: guessed.")] = None,
    unit: Annotated[str | None, typer.Option(help="The unit's id, for what has no topic.")] = None,
    units: UnitsFile = None,
    seal_key: Annotated[str | None, typer.Option(help="K_seal in hex: seals are checked too.")] = None,
    command_key: Annotated[str | None, typer.Option(help="K_cmd in hex: the tags of commands are checked too.")] = None,
    generation: Annotated[int, typer.Option(min=1, max=255, help="Key generation of --command-key.")] = 1,
    only: Only = None,
    list_: ListOnly = False,
    as_json: AsJson = False,
    html: Html = None,
    junit: Junit = None,
    strict: Strict = False,
) -> None:
    """Judge captured frames. Topics tell brand, unit and direction; what has none is as --brand and --unit say."""
    among = [each for each in requirements().values() if each.side == "frame"]
    if list_:
        _list(_selected(among, only), as_json)
        return
    keys = known_keys(units, seal_key, command_key, generation, unit or "")
    try:
        protocol = protocol_of(brand) if brand else None
        named = UnitId((brand or "").upper(), unit) if unit else None
        found = [each for path in files for each in read_file(path, Reading(protocol, named))]
    except CaptureFileError as error:
        stop(str(error))
    if not found:
        stop("no frame in " + ", ".join(map(str, files)) + ": MQTT messages on topics v1/BRAND/ID/up and down are looked for")
    evidence = Captures(found, keys)
    spoken = evidence.protocols | {"vtc"}
    wanted = _selected([each for each in among if each.protocol in spoken], only)
    about = {"frames": f"{len(found)} payloads, {', '.join(sorted(evidence.protocols))}"}
    finish(
        f"frames {', '.join(path.name for path in files)}", wanted, evidence, lambda: about,
        as_json=as_json, html=html, junit=junit, strict=strict,
    )  # fmt: skip


OF_THE_KIT = ("VTC-FORM-005", "VTC-FORM-008", "VTC-FORM-009")
"""What is about requests: those that a unit gets here are the kit's own, some of them bad on purpose."""

VIRTUAL_UNITS = {"CLOUDBOXX": "0123456789ABCDEF", "TELTONIKA": "356307042441013", "GBT32960": "LGXCE6CD0MA123456"}
VIRTUAL_UNITS |= {"MERCEDES_BENZ": "W1K2060461F123456"}
"""Ids of the simulated units that the kit tries itself on."""


@conform.command(
    epilog="Example: teleloop conform unit --brand CLOUDBOXX --id 0123456789ABCDEF --units units.json --listen 127.0.0.1:1884"
)
def unit(
    brand: Annotated[str, typer.Option(help="The unit's brand.")],
    id: Annotated[str | None, typer.Option(help="The unit's id: QNR, IMEI, VIN.")] = None,
    listen: Annotated[str | None, typer.Option(help="Be the MQTT server that the unit connects to: host:port.")] = None,
    broker: Annotated[
        str | None, typer.Option(help="The broker that the unit connects to: mqtt://user:secret@host:port.")
    ] = None,
    tcp: Annotated[str | None, typer.Option(help="Be the TCP server that the unit connects to: host:port.")] = None,
    simulated: Annotated[bool, typer.Option(help="Judge the simulated unit of this installation, in virtual time.")] = False,
    units: UnitsFile = None,
    seal_key: Annotated[str | None, typer.Option(help="K_seal in hex.")] = None,
    command_key: Annotated[str | None, typer.Option(help="K_cmd in hex.")] = None,
    generation: Annotated[int, typer.Option(min=1, max=255, help="Key generation of --command-key.")] = 1,
    model: Annotated[str | None, typer.Option(help="The vehicle model's id or name, so that the kit can read locks.")] = None,
    power_command: Annotated[str | None, typer.Option(help="A shell command that switches the unit off and on.")] = None,
    timeout: Timeout = 30.0,
    silence: Annotated[float, typer.Option(min=0.1, help="Seconds without an answer that count as silence.")] = 2.0,
    tolerance: Tolerance = 5.0,
    only: Only = None,
    list_: ListOnly = False,
    as_json: AsJson = False,
    html: Html = None,
    junit: Junit = None,
    strict: Strict = False,
) -> None:
    """Judge a unit, simulated or real: the kit plays its gateway, good and bad.

    The unit connects to the kit (--listen for MQTT, --tcp for a plain connection), or both to a broker (--broker). By MQTT the
    kit sees most as the server itself. The vehicle will be locked and unlocked.
    """
    from bench.conformance.targets import UnitTarget, talk_with

    name = brand.upper()
    try:
        protocol = protocol_of(name)
    except CaptureFileError as error:
        stop(str(error))
    spoken = {protocol.name, "vtc", *(["cloudboxx"] if protocol.name != "cloudboxx" else [])}
    among = [each for each in requirements().values() if each.side in ("unit", "frame") and each.protocol in spoken]
    among = [
        each for each in among if each.protocol != "cloudboxx" or protocol.name == "cloudboxx" or each.id.startswith("CBX-LINK-")
    ]
    if tcp is not None:
        among = [each for each in among if not each.id.startswith("CBX-LINK-")]
    among = [each for each in among if each.id not in OF_THE_KIT]
    among.sort(key=lambda each: each.side == "frame")
    wanted = _selected(among, only)
    if list_:
        _list(wanted, as_json)
        return
    unit_id = id or (VIRTUAL_UNITS.get(name) if simulated else None)
    if unit_id is None:
        stop("--id: which unit? Its QNR, IMEI or VIN is wanted")
    if sum(each is not None for each in (listen, broker, tcp)) + simulated > 1:
        stop("one of --listen, --broker, --tcp and --simulated is wanted")
    keys = known_keys(units, seal_key, command_key, generation, unit_id)
    password = None
    if units is not None:
        password = next(
            (each.password for each in read_units(units) if (each.brand, each.telematics_unit_id) == (name, unit_id)), None
        )
        models = (each.vehicle_model_id for each in read_units(units) if (each.brand, each.telematics_unit_id) == (name, unit_id))
        model = model or next(models, None)
    target = UnitTarget(
        UnitId(name, unit_id), protocol, keys, listen=listen, broker=broker, tcp=tcp, simulated=simulated, password=password,
        model=model, power_command=power_command, timeout_s=timeout, silence_s=silence, tolerance_s=tolerance,
    )  # fmt: skip
    try:
        talk = talk_with(target, lambda sentence: console.print(sentence))
    except ValueError as error:
        stop(str(error))
    try:
        finish(f"unit {target.unit}", wanted, talk, talk.about, as_json=as_json, html=html, junit=junit, strict=strict)
    finally:
        talk.wire.close()


@conform.command(
    epilog="Example: teleloop conform gateway --url http://127.0.0.1:8080 --broker mqtt://127.0.0.1:1883 --client ID:SECRET"
)
def gateway(
    url: Annotated[str, typer.Option(help="The API: http://host:port.")],
    broker: Annotated[str, typer.Option(help="Where units connect: mqtt://host:port or mqtts://host:port.")],
    amqp_url: Annotated[
        str | None, typer.Option(help="RabbitMQ: amqp://user:secret@host:port/vhost; none: events by GET /events.")
    ] = None,
    client: Annotated[
        str | None, typer.Option(help="An API client of the fleet to test in: id:secret.", envvar="TELELOOP_CLIENT")
    ] = None,
    token: Annotated[str | None, typer.Option(help="A Bearer token instead of --client.", envvar="TELELOOP_TOKEN")] = None,
    timeout: Timeout = 15.0,
    silence: Annotated[float, typer.Option(min=0.1, help="Seconds without an event or answer that count as silence.")] = 2.0,
    tolerance: Tolerance = 5.0,
    only: Only = None,
    list_: ListOnly = False,
    as_json: AsJson = False,
    html: Html = None,
    junit: Junit = None,
    strict: Strict = False,
) -> None:
    """Judge a gateway: the kit plays units, good and bad, and reads REST and events.

    It adds vehicles of its own, tagged teleloop-conform, and archives them at the end.
    """
    from bench.conformance.site import Access, Site, SiteError

    among = [each for each in requirements().values() if each.side == "gateway"]
    among += [each for each in requirements().values() if each.side == "frame" and each.id in GATEWAY_FRAMES]
    wanted = _selected(among, only)
    if list_:
        _list(wanted, as_json)
        return
    login: tuple[str, str] | None = None
    if client is not None:
        name, colon, secret = client.partition(":")
        if not colon:
            stop("--client: ID:SECRET is wanted")
        login = (name, secret)
    site = Site(Access(url, broker, amqp_url, login, None if login else token, timeout, silence, tolerance))
    try:
        site.open()
    except SiteError as error:
        stop(str(error))
    try:
        finish(f"gateway {url}", wanted, site, site.about, as_json=as_json, html=html, junit=junit, strict=strict)
    finally:
        site.close()


GATEWAY_FRAMES = frozenset(
    [f"CBX-FRAME-{number:03}" for number in range(1, 14)]
    + [f"VTC-FORM-{number:03}" for number in (1, 2, 3, 4, 5, 7, 9)]
    + ["CBX-ACK-001", "CBX-ACK-002", "CBX-TIME-001", "TEL-ANSWER-001", "GBT-FRAME-001", "GBT-FRAME-008"]
)
"""What is judged of the frames that a gateway sends."""


@conform.command(
    epilog="Example: teleloop conform consumer --amqp-url amqp://... --queue copy --state-url 'http://127.0.0.1:9000/{vehicle_id}'"
)
def consumer(
    amqp_url: Annotated[str, typer.Option(help="RabbitMQ: amqp://user:secret@host:port/vhost; the user may write to the queue.")],
    queue: Annotated[str, typer.Option(help="The queue that the consumer reads; nobody else should write to it meanwhile.")],
    state_url: Annotated[
        str | None, typer.Option(help="Where the consumer shows its copy: http://.../{vehicle_id}, 404 for none.")
    ] = None,
    callback: Annotated[str | None, typer.Option(help="module:function instead: vehicle id to the copy, None for none.")] = None,
    restart_command: Annotated[
        str | None, typer.Option(help="A shell command that ends the consumer and starts it again.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed makes the same fleet and faults.")] = 1,
    vehicles: Annotated[int, typer.Option(min=4, max=1000, help="How many vehicles a fault has, times four.")] = 8,
    timeout: Timeout = 20.0,
    only: Only = None,
    list_: ListOnly = False,
    as_json: AsJson = False,
    html: Html = None,
    junit: Junit = None,
    strict: Strict = False,
) -> None:
    """Grade an event consumer: its queue is fed a made fleet with duplicates, late reports, restarts and pauses.

    The copy is {"vehicle_state": {...}}, each property its value or {"value", "timestamp"}; with "trips", the number of TripEnded
    counted, it is also judged what is done twice.
    """
    from bench.conformance.grading import Consumer, Grading, GradingError

    wanted = _selected([each for each in requirements().values() if each.side == "consumer"], only)
    if list_:
        _list(wanted, as_json)
        return
    try:
        grading = Grading(Consumer(amqp_url, queue, state_url, callback, restart_command, seed, vehicles, timeout_s=timeout))
        grading.open()
    except GradingError as error:
        stop(str(error))
    try:
        finish(f"consumer of {queue}", wanted, grading, grading.about, as_json=as_json, html=html, junit=junit, strict=strict)
    finally:
        grading.close()
