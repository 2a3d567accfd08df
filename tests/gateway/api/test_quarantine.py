"""Refused frames: listed newest first, and the way in for the unit that sent one."""

from typing import Any

import httpx2
import pytest

from gateway.receipts import Refused
from gateway.server import Serving
from protocols.codec import Reason, UnitId

NOON_MS = 1_769_774_400_000
GOLF = {"vehicle_model": "Golf", "year": 2021}


async def refused(under_way: Serving, unit: UnitId, reason: Reason = "unknown_unit", data: bytes = b"\x01") -> dict[str, Any]:
    """Have a frame refused; how it is listed."""
    gateway = under_way.gateway
    await gateway.registry.remember({}, [Refused(unit, reason, data, NOON_MS, 3, "checksum")])
    token = gateway.settings.token_path.read_text().strip()
    async with httpx2.AsyncClient(base_url=under_way.url, headers={"Authorization": f"Bearer {token}"}) as client:
        return dict((await client.get("/quarantine", params={"limit": 1})).json()["items"][0])


async def test_a_frame_is_listed_with_what_was_wrong(under_way: Serving) -> None:
    listed = await refused(under_way, UnitId("CLOUDBOXX", "0" * 16), "bad_checksum", b"\x01\xff" * 2_000)
    del listed["id"]
    assert listed == {
        "at": "2026-01-30T12:00:00Z",
        "telematics_unit": {"brand": "CLOUDBOXX", "id": "0" * 16},
        "vehicle_id": None,
        "reason": "bad_checksum",
        "offset": 3,
        "field": "checksum",
        "size_bytes": 4_000,
        "data": "01ff" * 1_024,
    }


async def test_pages_go_from_the_newest_to_the_oldest(api: httpx2.AsyncClient, under_way: Serving) -> None:
    for number in range(5):
        await refused(under_way, UnitId("CLOUDBOXX", f"{number:016X}"))
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = (await api.get("/quarantine", params=query)).json()
        seen += [item["telematics_unit"]["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
        await refused(under_way, UnitId("CLOUDBOXX", "F" * 16))
    assert seen == [f"{number:016X}" for number in reversed(range(5))]


async def test_one_call_adds_the_unit_as_a_vehicle(api: httpx2.AsyncClient, under_way: Serving) -> None:
    unit = UnitId("CLOUDBOXX", "0" * 16)
    listed = await refused(under_way, unit)
    answer = await api.post(f"/quarantine/{listed['id']}/vehicle", json=GOLF)
    assert answer.status_code == 201, answer.text
    assert answer.json()["credentials"]["user_name"] == str(unit)
    assert (await api.get(f"/vehicles/{answer.json()['id']}")).json()["telematics_unit"]["id"] == unit.telematics_unit_id
    again = await api.post(f"/quarantine/{listed['id']}/vehicle", json=GOLF)
    assert (again.status_code, again.json()["reason"]) == (409, "unit_taken")


@pytest.mark.parametrize(
    ("unit", "model", "reason"),
    [
        (UnitId("CLOUDBOXX", "0" * 100), GOLF, "bad_unit_id"),
        (UnitId("CLOUDBOXX", "\x00"), GOLF, "bad_unit_id"),
        (UnitId("CLOUDBOXX", "no QNR"), GOLF, "bad_unit_id"),
        (UnitId("CLOUDBOXX", ""), GOLF, "bad_unit_id"),
        (UnitId("NOBODY", "0" * 16), GOLF, "brand_unknown"),
        (UnitId("CLOUDBOXX", "0" * 16), {"vehicle_model": "Golf"}, "model_ambiguous"),
        (UnitId("CLOUDBOXX", "0" * 16), {}, "model_unknown"),
    ],
)
async def test_what_cannot_be_added_says_why(
    api: httpx2.AsyncClient, under_way: Serving, unit: UnitId, model: dict[str, Any], reason: str
) -> None:
    listed = await refused(under_way, unit)
    answer = await api.post(f"/quarantine/{listed['id']}/vehicle", json=model)
    assert (answer.status_code, answer.json()["reason"]) == (422, reason)
    assert (await api.get("/vehicles")).json()["items"] == []
