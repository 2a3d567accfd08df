"""A payload explained with brand and model: every frame, its vehicle state, and the rule that made each property."""

import json
from pathlib import Path

import pytest

from gateway.decoding import decoded, explained
from gateway.registry.errors import BrandUnknown, ModelAmbiguous, ModelUnknown
from modeldb import load
from protocols import load as load_protocols
from protocols.codec import PAYLOAD_LIMIT_BYTES
from protocols.teltonika_layouts import CODEC_8
from protocols.teltonika_session import avl, record

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "cloudboxx.json").read_text())
PARKED = bytes.fromhex(next(each["hex"] for each in VECTORS["frames"] if each["name"] == "state of a parked car"))
SEAL_KEY = bytes.fromhex(VECTORS["seal_key"])
LOCKED = bytes.fromhex("0d00200106000401000101")
ENVELOPE = bytes.fromhex("0101010100000000000000076b0454f001010000f0b2265c98436020da7d63bb650775fc")
DOCUMENT = {"protocol", "kind", "ok", "fields", "checksum", "state", "error"}
FIELD = {"name", "offset", "size", "raw", "value", "unit"}
ERROR = {"reason", "offset", "field", "expected", "found", "guess"}
AT = 1_769_779_325_000


def test_the_document_has_the_keys_of_the_contract() -> None:
    (good,), (bad,) = explained(PARKED), explained(PARKED[:-1] + b"\0")
    for document in (good, bad):
        assert document.keys() == DOCUMENT
        assert all(field.keys() == FIELD for field in document["fields"])
        assert document["checksum"].keys() == {"name", "expected", "found"}
    assert (good["ok"], good["kind"], good["error"], good["state"]) == (True, "state", None, None)
    assert (bad["ok"], bad["error"].keys(), bad["error"]["reason"]) == (False, ERROR, "bad_checksum")


def test_with_a_model_the_state_is_what_the_gateway_would_make_of_it() -> None:
    (golf,) = load().find("CLOUDBOXX", "Golf", 2021)
    (found,) = decoded(PARKED, model="Golf", year=2021)
    assert found.model is golf
    assert found.explanation.frame is not None
    (report,) = found.explanation.frame.reports
    state = golf.units["CLOUDBOXX"].translate(report.signals)
    assert state
    assert found.document()["state"] == state
    assert {each.key: each.value for each in found.made if each.value is not None} == state
    assert all(each.rule and each.raw for each in found.made)


def test_a_model_is_also_known_by_its_id() -> None:
    (golf,) = load().find("CLOUDBOXX", "Golf", 2021)
    assert explained(PARKED, brand="CLOUDBOXX", model=golf.id) == explained(PARKED, model="Golf", year=2021)


def test_the_newest_report_of_a_packet_has_the_last_word() -> None:
    (car,) = (
        model for model in load().available("TELTONIKA") if "io_239" in model.units["TELTONIKA"].signals and model.type == "CAR"
    )
    records = [record(CODEC_8, AT + age, {"io_239": on, "io_16": 1_000}) for age, on in ((0, 0), (9_000, 1), (4_000, 0))]
    data = load_protocols()["teltonika"].encode(avl(CODEC_8, records))
    (found,) = explained(data, model=car.id)
    assert found["state"]["ignition"] == "ON"


def test_each_frame_of_a_payload_is_its_own_document() -> None:
    good, bad, again = explained(PARKED + PARKED[:-2] + b"\0\0" + PARKED)
    assert [each["ok"] for each in (good, bad, again)] == [True, False, True]
    assert bad["error"]["offset"] == 2 * len(PARKED) - 2
    assert again["fields"][0]["offset"] == 2 * len(PARKED)


def test_a_bad_frame_has_no_state() -> None:
    assert explained(PARKED[:-1] + b"\0", model="Golf", year=2021)[0]["state"] is None


def test_a_frame_that_reports_nothing_has_no_state() -> None:
    heartbeat = next(bytes.fromhex(each["hex"]) for each in VECTORS["frames"] if each["kind"] == "heartbeat")
    assert explained(heartbeat, model="Golf", year=2021)[0]["state"] is None


def test_a_seal_holds_under_its_key_and_no_other() -> None:
    assert explained(PARKED, key=SEAL_KEY)[0]["ok"]
    (forged,) = explained(PARKED, key=bytes(32))
    assert forged["error"]["reason"] == "forged"
    assert forged["fields"][0]["raw"] == "cb01"


def test_a_bare_command_envelope_is_explained() -> None:
    (found,) = explained(ENVELOPE)
    assert (found["protocol"], found["kind"], found["ok"]) == ("vtc1", "command", True)
    assert [field["name"] for field in found["fields"]][-1] == "envelope.tag"
    (cut,) = explained(ENVELOPE[:-1], protocol="vtc1")
    assert cut["error"]["reason"] == "truncated"


def test_a_payload_beyond_the_limit_is_oversized() -> None:
    (found,) = explained(PARKED * (PAYLOAD_LIMIT_BYTES // len(PARKED) + 1))
    assert found["error"]["reason"] == "oversized"


def test_what_is_asked_for_must_exist() -> None:
    with pytest.raises(BrandUnknown):
        decoded(LOCKED, brand="NOBODY")
    with pytest.raises(ValueError, match="no protocol morse"):
        decoded(LOCKED, protocol="morse")
    with pytest.raises(ValueError, match="speak cloudboxx"):
        decoded(LOCKED, protocol="autoapi", brand="CLOUDBOXX")
    with pytest.raises(ModelUnknown):
        decoded(LOCKED, model="Golf")
    with pytest.raises(ModelAmbiguous):
        decoded(PARKED, model="Golf")
