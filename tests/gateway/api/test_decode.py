"""POST /decode: what `teleloop decode --json` says, for any client."""

import httpx2

from gateway.decoding import explained
from modeldb import load
from protocols.codec import PAYLOAD_LIMIT_BYTES

LOCKED = "0d00200106000401000101"


async def test_a_frame_is_explained_as_on_the_command_line(api: httpx2.AsyncClient) -> None:
    answer = await api.post("/decode", json={"hex": LOCKED})
    assert (answer.status_code, answer.json()) == (200, explained(bytes.fromhex(LOCKED))[0])


async def test_several_frames_are_a_list(api: httpx2.AsyncClient) -> None:
    answer = await api.post("/decode", json={"hex": f"0x{LOCKED} {LOCKED}", "protocol": "autoapi"})
    assert [each["ok"] for each in answer.json()] == [True, True]


async def test_a_model_gives_the_state(api: httpx2.AsyncClient) -> None:
    model = next(each for each in load().available("MERCEDES_BENZ") if each.name == "EQA")
    asked = {"hex": LOCKED, "brand": "MERCEDES_BENZ", "vehicle_model_id": model.id}
    assert (await api.post("/decode", json=asked)).json()["state"] == {"central_lock": "LOCKED"}


async def test_a_bad_frame_is_an_answer_and_no_problem(api: httpx2.AsyncClient) -> None:
    answer = await api.post("/decode", json={"hex": "cb01", "protocol": "cloudboxx"})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (200, "truncated")


async def test_what_is_no_hex_or_too_long_is_a_problem(api: httpx2.AsyncClient) -> None:
    for text in ("", "xy", "0d0", "00" * (PAYLOAD_LIMIT_BYTES + 1), "00" * 4 * PAYLOAD_LIMIT_BYTES):
        answer = await api.post("/decode", json={"hex": text})
        assert (answer.status_code, answer.json()["reason"]) == (400, "validation"), text[:8]
        assert answer.headers["content-type"] == "application/problem+json"


async def test_what_is_asked_for_must_exist_and_fit(api: httpx2.AsyncClient) -> None:
    for asked, status, reason in (
        ({"brand": "NOBODY"}, 422, "brand_unknown"),
        ({"vehicle_model_id": "01"}, 422, "model_unknown"),
        ({"brand": "CLOUDBOXX", "protocol": "autoapi"}, 422, "protocol_mismatch"),
        ({"protocol": "morse"}, 422, "protocol_mismatch"),
    ):
        answer = await api.post("/decode", json={"hex": LOCKED, **asked})
        assert (answer.status_code, answer.json()["reason"]) == (status, reason)


async def test_strangers_are_explained_nothing(stranger: httpx2.AsyncClient) -> None:
    assert (await stranger.post("/decode", json={"hex": LOCKED})).status_code == 401
