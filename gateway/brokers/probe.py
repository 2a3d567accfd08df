"""One MQTT 3.1.1 login, to learn what a broker says to it (OASIS MQTT 3.1.1, sections 3.1 and 3.2)."""

import asyncio
import contextlib
import ssl
import struct

ACCEPTED = 0


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack(">H", len(data)) + data


def _connect_packet(client_id: str, user: str, secret: str) -> bytes:
    clean_session_user_password = 0b1100_0010
    body = _text("MQTT") + bytes([4, clean_session_user_password]) + struct.pack(">H", 30)
    body += _text(client_id) + _text(user) + _text(secret)
    length, encoded = len(body), bytearray()
    while True:
        length, low = divmod(length, 128)
        encoded.append(low | (0x80 if length else 0))
        if not length:
            return b"\x10" + bytes(encoded) + body


async def try_login(host: str, port: int, user: str, secret: str, *, tls: bool = False, timeout_s: float = 2.0) -> int | None:
    """The CONNACK return code (0 = accepted, 4 or 5 = refused) for a short clean session; None without an answer."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port, ssl=ssl.create_default_context() if tls else None)
            try:
                writer.write(_connect_packet(f"{user}-{id(writer):x}", user, secret))
                answer = await reader.readexactly(4)
                if answer[3] == ACCEPTED:
                    writer.write(b"\xe0\x00")  # DISCONNECT
                return answer[3] if answer[0] == 0x20 else None
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return None
