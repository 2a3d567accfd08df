"""The vectors that other implementations test themselves with: made from the declarations, by the schema, and true."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import jsonschema_rs
import pytest

from bench.conformance.vectors import documents
from protocols import load
from protocols.cloudboxx import SIGNALS
from protocols.codec import Peer, ProtocolError, Reason
from protocols.teltonika_session import AVL_SIZES

FOLDER = Path(__file__).parents[1] / "vectors" / "generated"
FILES = ("cloudboxx", "teltonika", "gbt32960", "autoapi", "vtc")
LIMIT_BYTES = 3_000_000


def read(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return document


def test_the_committed_vectors_are_what_the_declarations_make():
    made = dict(documents())
    assert {path.name for path in FOLDER.iterdir()} == made.keys()
    for name, text in made.items():
        assert (FOLDER / name).read_text() == text, f"{name} is out of date: python -m bench.conformance.vectors"
    assert sum(map(len, made.values())) < LIMIT_BYTES


@pytest.mark.parametrize("name", FILES)
def test_they_are_valid_by_their_schema(name: str):
    schema = jsonschema_rs.validator_for(json.loads((FOLDER / "schema.json").read_text()))
    document = read(name)
    schema.validate(document)
    assert not schema.is_valid(document | {"refused": [document["refused"][0] | {"reason": "because"}]})


@pytest.mark.parametrize("name", FILES[:-1])
def test_a_reader_that_knows_only_the_file_reads_every_vector(name: str):
    protocol, document = load()[name], read(name)
    for vector in document["vectors"]:
        frame, wanted = protocol.decode(bytes.fromhex(vector["hex"])), vector["expect"]
        assert frame.kind == wanted["kind"], vector["name"]
        for fact in ("unit", "sequence", "captured_at"):
            assert fact not in wanted or getattr(frame, fact) == wanted[fact], vector["name"]
        for report, said in zip(frame.reports, wanted.get("reports", ()), strict=True):
            for signal, value in said["signals"].items():
                found = report.signals[signal]
                shown = {"hex": found.hex()} if isinstance(found, bytes) else json.loads(json.dumps(found))
                assert shown == value, f"{vector['name']}: {signal}"


@pytest.mark.parametrize("name", FILES[:-1])
def test_every_bad_frame_is_refused_for_its_reason(name: str):
    protocol, document = load()[name], read(name)
    about = document["about"]
    unit = about.get("unit") or about.get("imei") or about.get("vin")
    peer = Peer(unit, (bytes.fromhex(about.get("seal_key", "")),))
    for vector in document["refused"]:
        with pytest.raises(ProtocolError) as caught:
            protocol.decode(bytes.fromhex(vector["hex"]), peer if "needs" in vector else None)
        assert caught.value.reason == vector["reason"], vector["name"]


def test_every_signal_stands_alone_and_every_state_of_every_group_is_there():
    names = {vector["name"] for vector in read("cloudboxx")["vectors"]}
    for signal in SIGNALS:
        assert any(re.match(rf"{signal.name} alone = ", name) for name in names), signal.name
        for state in signal.states:
            assert {f"{signal.name}: {state} = {value}, the rest unknown" for value in range(4)} <= names
    found = {vector["name"] for vector in read("teltonika")["vectors"]}
    assert {f"id {each} alone = {(1 << 8 * size) - 1}" for each, size in AVL_SIZES.items()} <= found


def test_the_reasons_are_of_the_closed_list_and_most_of_those_of_frames_are_there():
    reasons = {vector["reason"] for name in FILES for vector in read(name)["refused"]}
    assert reasons <= set(get_args(Reason))
    of_frames = {
        "identity_mismatch",
        "oversized",
        "truncated",
        "bad_sync",
        "bad_checksum",
        "bad_length",
        "malformed",
        "unsupported",
    }
    assert reasons == of_frames | {"forged"}
