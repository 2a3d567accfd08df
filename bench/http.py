"""A lean HTTP/1.1 client for load: kept connections, and no more work than a request needs."""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

IDLE_S = 3.0
"""How long a connection may have been idle to be used again: servers close theirs after five seconds and more, and a request that
meets that may or may not have been heard."""


class Answer(msgspec.Struct, frozen=True):
    """Status and body."""

    status: int
    body: bytes

    def json(self) -> Any:
        """The body as JSON values. Raises msgspec.DecodeError."""
        return msgspec.json.decode(self.body)


class LeanHttp:
    """Requests to one server, on as many kept connections as there are at the same time."""

    def __init__(self, url: str, headers: Mapping[str, str], connections: int = 64) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"the gateway is wanted as http://host:port, not {url!r}")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._host, self._port = parts.hostname, parts.port or (443 if self._tls else 80)
        self._base = parts.path.rstrip("/")
        said = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._head = f" HTTP/1.1\r\nHost: {parts.netloc}\r\n{said}"
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter, float]] = []
        self._turns = asyncio.Semaphore(connections)

    async def call(self, method: str, path: str, document: Any = None, **headers: str) -> Answer:
        """One request. Raises OSError where the server cannot be reached or does not speak HTTP."""
        body = b"" if document is None else msgspec.json.encode(document)
        more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        if document is not None:
            more += "Content-Type: application/json\r\n"
        said = f"{method} {self._base}{path}{self._head}{more}Content-Length: {len(body)}\r\n\r\n".encode() + body
        async with self._turns:
            while self._idle:
                source, sink, since = self._idle.pop()
                if source.at_eof() or asyncio.get_running_loop().time() - since > IDLE_S:
                    sink.close()
                    continue
                try:
                    return await self._ask((source, sink), said)
                except (OSError, asyncio.IncompleteReadError, ValueError):
                    sink.close()
                    if method not in ("GET", "PUT", "DELETE"):
                        raise OSError("the gateway closed the connection") from None
            line = await asyncio.open_connection(self._host, self._port, ssl=self._tls, limit=1 << 24)
            try:
                return await self._ask(line, said)
            except (asyncio.IncompleteReadError, ValueError) as error:
                line[1].close()
                raise OSError("the gateway closed the connection") from error
            except BaseException:
                line[1].close()
                raise

    async def _ask(self, line: tuple[asyncio.StreamReader, asyncio.StreamWriter], said: bytes) -> Answer:
        source, sink = line
        sink.write(said)
        head = (await source.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *fields = head.split("\r\n")
        known = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        if known.get("transfer-encoding") == "chunked":
            body = await _chunks(source)
        else:
            body = await source.readexactly(int(known.get("content-length", "0")))
        if known.get("connection", "").lower() == "close":
            sink.close()
        else:
            self._idle.append((source, sink, asyncio.get_running_loop().time()))
        return Answer(int(status_line.split(" ", 2)[1]), body)

    async def close(self) -> None:
        """Close what is open."""
        for _, sink, _ in self._idle:
            sink.close()
            with contextlib.suppress(OSError, ssl.SSLError):
                await sink.wait_closed()
        self._idle.clear()


async def _chunks(source: asyncio.StreamReader) -> bytes:
    parts = []
    while size := int((await source.readuntil(b"\r\n")).split(b";")[0], 16):
        parts.append((await source.readexactly(size + 2))[:-2])
    await source.readuntil(b"\r\n")
    return b"".join(parts)
