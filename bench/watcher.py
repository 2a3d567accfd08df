"""The consumer's process (bench.consumer), as the run sees it: what it has in its hands, batch by batch."""

import asyncio
import contextlib
import sys
from typing import Any

import aiormq
import msgspec
import numpy as np
from aiormq.exceptions import AMQPError

from bench.account import AccountError
from bench.consumer import RECORD, Wanted

READY_TIMEOUT_S = 30.0
END_TIMEOUT_S = 8.0
ANSWER_TIMEOUT_S = 5.0
READ_BYTES = 1 << 18


class Watcher:
    """Starts the consumer, gathers its records, and ends it with its queue."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._chunks: list[Any] = []
        self._rest = b""

    @property
    def pid(self) -> int:
        """Of the consumer."""
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it still consumes."""
        return self._reading is not None and not self._reading.done()

    async def start(self) -> None:
        """Until it consumes. Raises AccountError with what it says."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bench.consumer",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(self._wanted) + b"\n")
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), READY_TIMEOUT_S)
        except TimeoutError:
            line = b""
        if line != b"ready\n":
            await self.stop()
            raise AccountError(f"no events can be consumed: {await self._last_words()}")
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while data := await self._process.stdout.read(READ_BYTES):
            data = self._rest + data
            whole = len(data) - len(data) % RECORD.itemsize
            self._rest = data[whole:]
            if whole:
                self._chunks.append(np.frombuffer(data[:whole], dtype=RECORD))

    def take(self) -> Any:
        """What has come since the last time, an array of RECORD."""
        chunks, self._chunks = self._chunks, []
        return np.concatenate(chunks) if chunks else np.empty(0, dtype=RECORD)

    async def waiting(self) -> int | None:
        """Messages in its queue that RabbitMQ has not given to it yet; None where there is no RabbitMQ, or no answer."""
        if self._wanted.amqp_url is None:
            return None
        connection = aiormq.Connection(self._wanted.amqp_url)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await connection.connect()
                channel = await connection.channel()
                declared = await channel.queue_declare(self._wanted.queue, passive=True)
                return declared.message_count or 0
        except (AMQPError, OSError, TimeoutError):
            return None
        finally:
            await connection.close()

    async def stop(self) -> None:
        """End it; its queue goes with it."""
        if self._process is None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), END_TIMEOUT_S)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _last_words(self) -> str:
        assert self._process is not None
        assert self._process.stderr is not None
        said = (await self._process.stderr.read()).decode(errors="replace").strip()
        return said.splitlines()[-1] if said else "it said nothing"
