"""A frame explained, as `teleloop decode` does it."""

from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.access import GatewayHere, Reader
from gateway.api.problems import Problem
from gateway.decode_cli import unhexed
from gateway.decoding import decoded, protocol_names
from protocols.codec import PAYLOAD_LIMIT_BYTES

HEX_LIMIT = 4 * PAYLOAD_LIMIT_BYTES
"""Two digits a byte, and as much again between them."""

HEX = r"^[\s:]*((0[xX])?[0-9a-fA-F]{2}[\s:]*)+$"

router = APIRouter(tags=["Frames"])


class DecodeRequest(BaseModel):
    """A frame, or a payload of several."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"hex": "000F333536333037303432343431303133", "protocol": "teltonika"}]}
    )

    hex: Annotated[
        str, Field(max_length=HEX_LIMIT, pattern=HEX, description="the bytes in hex; white space, colons and 0x do not matter")
    ]
    protocol: Annotated[
        str | None,
        Field(
            max_length=64,
            description="guessed if neither it nor a brand is said",
            json_schema_extra={"examples": protocol_names()},
        ),
    ] = None
    brand: Annotated[str | None, Field(max_length=64, description="telematics brand")] = None
    vehicle_model_id: Annotated[str | None, Field(max_length=64, description="shows the vehicle state too")] = None


class DecodedField(BaseModel):
    """One field of the frame."""

    name: str
    offset: int
    size: int
    raw: str
    value: Any
    unit: str


class Checksum(BaseModel):
    """What the checksum is, and what stands in the frame."""

    name: str
    expected: str
    found: str


class DecodeError(BaseModel):
    """The first thing that is wrong."""

    reason: str
    offset: int
    field: str
    expected: str
    found: str
    guess: str


class DecodedFrame(BaseModel):
    """A frame explained."""

    protocol: str
    kind: str | None
    ok: bool
    fields: list[DecodedField]
    checksum: Checksum | None
    state: dict[str, Any] | None
    error: DecodeError | None


@router.post("/decode", summary="Explain a frame", response_model=DecodedFrame | list[DecodedFrame])
async def decode(gateway: GatewayHere, _: Reader, wanted: DecodeRequest) -> Any:
    """Every field with its bytes; of a bad frame the first thing that is wrong. Several frames are a list."""
    payload = unhexed(wanted.hex)
    if len(payload) > PAYLOAD_LIMIT_BYTES:
        raise Problem(400, "validation", f"a payload has at most {PAYLOAD_LIMIT_BYTES} bytes, this one has {len(payload)}")
    try:
        found = await run_in_threadpool(
            decoded, payload, wanted.protocol, wanted.brand, wanted.vehicle_model_id, models=gateway.models
        )
    except ValueError as error:
        raise Problem(422, "protocol_mismatch", str(error)) from error
    documents = [each.document() for each in found]
    return documents[0] if len(documents) == 1 else documents
