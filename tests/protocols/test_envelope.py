"""The command envelope: authentic, for this unit, once, and in time - or nothing."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from protocols import envelope
from protocols.codec import ProtocolError
from protocols.envelope import Algorithm, Envelope, Freshness, Result, Type
from protocols.keys import brand_key, command_key, mqtt_key, password, seal_key

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT.parent / "shared/vectors/command_auth.jsonl"
OWN = json.loads((ROOT / "tests/vectors/commands.json").read_text())
KEYS = json.loads((ROOT / "tests/vectors/keys.json").read_text())
UNIT, KEY = "WVWZZZ1KZAW000001", bytes(range(32))
REQUEST = Envelope(Type.REQUEST, 1, 7, 1_795_446_000, 0x0101)


def published() -> list[dict]:
    return [json.loads(line) for line in PUBLISHED.read_text().splitlines()] if PUBLISHED.exists() else []


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published vectors are not beside this checkout")
def test_published_vectors():
    assert published()
    for vector in published():
        check_vector(vector)


@pytest.mark.parametrize("vector", OWN, ids=lambda vector: vector["name"])
def test_own_vectors(vector):
    check_vector(vector)


def check_vector(vector):
    key = command_key(bytes.fromhex(vector["master_key"]), vector["key_id"], vector["device_id"])
    assert key.hex() == vector["device_key"]
    said = Envelope(
        Type.REQUEST,
        vector["key_id"],
        vector["counter"],
        vector["expires"],
        vector["cmd"],
        bytes.fromhex(vector["params"]),
        Algorithm(vector["alg"]),
    )
    data = envelope.close(said, vector["device_id"], key)
    assert data.hex() == vector["hex"]
    assert envelope.open(data, vector["device_id"], {vector["key_id"]: key}) == said
    assert envelope.close(said.response(Result.OK), vector["device_id"], key).hex() == vector["response_ok_hex"]


@pytest.mark.parametrize("vector", KEYS, ids=lambda vector: f"{vector['brand']}/{vector['unit']}/{vector['generation']}")
def test_key_vectors(vector):
    master = brand_key(bytes.fromhex(vector["provisioning_key"]), vector["brand"])
    generation, unit = vector["generation"], vector["unit"]
    assert master.hex() == vector["k_brand"]
    assert mqtt_key(master, generation, unit).hex() == vector["k_mqtt"]
    assert password(mqtt_key(master, generation, unit)) == vector["password"]
    assert seal_key(master, generation, unit).hex() == vector["k_seal"]
    assert command_key(master, generation, unit).hex() == vector["k_cmd"]


def test_keys_are_made_as_the_contract_writes_them():
    def derive(ikm: bytes, salt: bytes, info: bytes) -> bytes:
        return HKDF(SHA256(), 32, salt, info).derive(ikm)

    unit = "0123456789ABCDEF"
    master = derive(KEY, b"teleloop-v1", b"brand" + b"\x09" + b"CLOUDBOXX")
    assert brand_key(KEY, "CLOUDBOXX") == master
    assert mqtt_key(master, 2, unit) == derive(master, b"teleloop-v1", b"mqtt\x02\x10" + unit.encode())
    assert seal_key(master, 2, unit) == derive(master, b"teleloop-v1", b"seal\x02\x10" + unit.encode())
    assert command_key(master, 2, unit) == derive(master, b"vt-cmd-v1", b"cmd\x02\x10" + unit.encode())


def test_the_same_id_under_two_brands_shares_no_key():
    unit = "0123456789ABCDEF"
    for make in (mqtt_key, seal_key, command_key):
        assert make(brand_key(KEY, "CLOUDBOXX"), 1, unit) != make(brand_key(KEY, "OTHER"), 1, unit)


@pytest.mark.parametrize(("generation", "unit"), [(0, "A"), (256, "A"), (1, ""), (1, "A" * 256)])
def test_no_key_for_what_the_derivation_cannot_say(generation, unit):
    with pytest.raises(ValueError, match=r"generation|id"):
        seal_key(KEY, generation, unit)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_every_flipped_bit_is_refused(algorithm):
    request = Envelope(Type.REQUEST, 1, 7, 1_795_446_000, 0x0101, b"\x02", algorithm)
    data = envelope.close(request, UNIT, KEY)
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ProtocolError):
            envelope.open(bytes(flipped), UNIT, {1: KEY})


def test_every_prefix_is_refused():
    data = envelope.close(REQUEST, UNIT, KEY)
    for size in range(len(data)):
        with pytest.raises(ProtocolError, match="truncated"):
            envelope.open(data[:size], UNIT, {1: KEY})


def test_a_command_for_another_unit_is_forged():
    with pytest.raises(ProtocolError, match="forged"):
        envelope.open(envelope.close(REQUEST, UNIT, KEY), "WVWZZZ1KZAW000002", {1: KEY})


def test_a_request_is_no_response():
    data = bytearray(envelope.close(REQUEST, UNIT, KEY))
    data[3] = Type.RESPONSE
    with pytest.raises(ProtocolError, match="forged"):
        envelope.open(bytes(data), UNIT, {1: KEY})


def test_an_algorithm_that_the_slot_does_not_allow_is_unsupported():
    data = envelope.close(Envelope(Type.REQUEST, 1, 7, 1, 0x0101, algorithm=Algorithm.AES_CMAC), UNIT, KEY)
    with pytest.raises(ProtocolError, match="unsupported"):
        envelope.open(data, UNIT, {1: KEY}, frozenset({Algorithm.HMAC_SHA256}))


def test_more_parameters_than_the_limit_are_refused_both_ways():
    with pytest.raises(ProtocolError, match="oversized"):
        envelope.close(Envelope(Type.REQUEST, 1, 7, 1, 0x01F0, bytes(257)), UNIT, KEY)
    assert envelope.open(envelope.close(Envelope(Type.REQUEST, 1, 7, 1, 0x01F0, bytes(256)), UNIT, KEY), UNIT, {1: KEY})


@given(st.binary(max_size=80))
def test_any_bytes_give_an_envelope_or_a_protocol_error(data):
    with pytest.raises(ProtocolError):
        envelope.open(data, UNIT, {1: KEY})


@pytest.mark.parametrize(
    ("last_counter", "same_bytes", "now", "verdict"),
    [
        (6, False, 1_795_446_000, Freshness.FRESH),
        (6, False, 1_795_446_000.5, Freshness.EXPIRED),
        (6, False, 1_795_445_700, Freshness.FRESH),
        (6, False, 1_795_445_699, Freshness.EXPIRED),
        (7, True, 1_795_449_999, Freshness.REPEATED),
        (7, False, 1_795_446_000, Freshness.REPLAYED),
        (8, True, 1_795_446_000, Freshness.REPLAYED),
    ],
)
def test_freshness(last_counter, same_bytes, now, verdict):
    data = envelope.close(REQUEST, UNIT, KEY)
    assert envelope.freshness(REQUEST, data, last_counter, data if same_bytes else b"", now) is verdict
