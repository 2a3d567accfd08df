"""Our publish frames are those of pamqp, an independent encoder, byte for byte."""

import pamqp.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from gateway.amqp.frames import FRAME_OVERHEAD_BYTES, Publishing

short = st.text(max_size=60).filter(lambda text: "\x00" not in text)
headers = st.dictionaries(
    st.text("abcXYZ-", min_size=1, max_size=20), st.text(min_size=1, max_size=300), min_size=1, max_size=4
).map(lambda table: dict(sorted(table.items())))  # pamqp writes tables sorted


def publishing(channel: int, limit: int, exchange: str, key: str, message_id: str, table: dict[str, str], body: bytes) -> bytes:
    """The first header as the one that varies, the body in three pieces."""
    (varying, value), *others = table.items()
    third = len(body) // 3
    pieces = (body[:third], b"", body[third:])
    return b"".join(Publishing(channel, limit, exchange, key, varying, dict(others)).frames(message_id, value, pieces))


def by_pamqp(channel: int, step: int, exchange: str, key: str, message_id: str, table: dict[str, str], body: bytes) -> bytes:
    properties = commands.Basic.Properties(
        content_type="application/json", headers=dict(table), delivery_mode=2, message_id=message_id
    )
    frames = [
        commands.Basic.Publish(exchange=exchange, routing_key=key, mandatory=True),
        ContentHeader(body_size=len(body), properties=properties),
        *(ContentBody(body[start : start + step]) for start in range(0, len(body), step)),
    ]
    return b"".join(pamqp.frame.marshal(frame, channel) for frame in frames)


@given(st.integers(1, 65535), short, headers, st.text("0123456789abcdef-", min_size=1, max_size=36), st.binary())
def test_a_message_is_encoded_as_the_specification_says(
    channel: int, key: str, table: dict[str, str], message_id: str, body: bytes
) -> None:
    expected = by_pamqp(channel, 1 << 20, "events", key, message_id, table, body)
    assert publishing(channel, 0, "events", key, message_id, table, body) == expected


@given(st.integers(1, 200), st.binary(max_size=1000))
def test_a_body_larger_than_a_frame_is_split(step: int, body: bytes) -> None:
    expected = by_pamqp(1, step, "events", "a.b.c", "id", {"Flow-ID": "f"}, body)
    assert publishing(1, step + FRAME_OVERHEAD_BYTES, "events", "a.b.c", "id", {"Flow-ID": "f"}, body) == expected


@pytest.mark.parametrize("key", ["k" * 256, "é" * 128])
def test_a_name_over_255_bytes_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="255"):
        publishing(1, 0, "events", key, "id", {"Flow-ID": "f"}, b"{}")
