"""An event consumer that keeps a right copy of a fleet: an example to begin with, and what `teleloop conform consumer` passes.

`python -m bench.conformance.example_consumer --amqp-url amqp://... --queue NAME --database copy.sqlite --port 9000` consumes, and
shows each vehicle's copy at http://127.0.0.1:9000/{vehicle_id}. Its rules: the effect of an event and the event's id are stored in
one transaction; a message is acknowledged after that; what is not known is passed over; what is late is left out.
"""

# ruff: noqa: E501 - sentences for people stand on one line

import argparse
import asyncio
import contextlib
import json
import sqlite3
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aio_pika

PREFETCH = 50
SCHEMA = """
CREATE TABLE IF NOT EXISTS vehicle (id TEXT PRIMARY KEY, state TEXT NOT NULL DEFAULT '{}', trips INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS seen (event_id TEXT PRIMARY KEY) WITHOUT ROWID;
"""


class Copy:
    """A fleet's copy in a SQLite file."""

    def __init__(self, database: Path) -> None:
        self._database = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.executescript(SCHEMA)
        self._lock = threading.Lock()

    def apply(self, event: Mapping[str, Any]) -> None:
        """Take in an event: once, however often it comes."""
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                if self.is_new(event["metadata"]["id"]):
                    self.effect(event, event["metadata"]["vehicle_id"])
                self._database.execute("COMMIT")
            except BaseException:
                self._database.execute("ROLLBACK")
                raise

    def is_new(self, event_id: str) -> bool:
        """Whether it has not been seen before; from now on it has."""
        return self._database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (event_id,)).rowcount == 1

    def effect(self, event: Mapping[str, Any], vehicle_id: str) -> None:
        """What an event does to the copy; types that are not known do nothing."""
        match event["metadata"]["type"]:
            case "VehicleCreated":
                self._database.execute("INSERT OR REPLACE INTO vehicle (id) VALUES (?)", (vehicle_id,))
            case "VehicleRemoved":
                self._database.execute("DELETE FROM vehicle WHERE id = ?", (vehicle_id,))
            case "VehicleStateRecorded" if not event.get("late"):
                self.keep(vehicle_id, event["vehicle_state"])
            case "TripEnded":
                self._database.execute("UPDATE vehicle SET trips = trips + 1 WHERE id = ?", (vehicle_id,))

    def keep(self, vehicle_id: str, state: Mapping[str, Any]) -> None:
        """The vehicle's whole state from now on."""
        self._database.execute(
            "INSERT INTO vehicle (id, state) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state",
            (vehicle_id, json.dumps(state)),
        )

    def vehicle(self, vehicle_id: str) -> dict[str, Any] | None:
        """The copy of a vehicle as the grading asks for it; None: there is no such vehicle."""
        with self._lock:
            row = self._database.execute("SELECT state, trips FROM vehicle WHERE id = ?", (vehicle_id,)).fetchone()
        return None if row is None else {"vehicle_state": json.loads(row[0]), "trips": row[1]}

    async def consume(self, amqp_url: str, queue_name: str) -> None:
        """Take in what comes until cancelled; what has had its effect is acknowledged."""
        connection = await aio_pika.connect(amqp_url)
        try:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=PREFETCH)
            queue = await channel.get_queue(queue_name)
            async with queue.iterator() as messages:
                async for message in messages:
                    await self.take(message)
        finally:
            await connection.close()

    async def take(self, message: Any) -> None:
        """One message: first its effect, then its acknowledgement."""
        self.apply(json.loads(message.body))
        await message.ack()


def serve(copy: Copy, port: int) -> ThreadingHTTPServer:
    """Show copies at http://127.0.0.1:port/{vehicle_id}, in a thread; port 0 takes a free one."""

    class Shown(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = copy.vehicle(self.path.strip("/"))
            body = json.dumps(found).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *given: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Shown)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main() -> None:
    """Consume until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--amqp-url", required=True)
    parser.add_argument("--queue", required=True)
    parser.add_argument("--database", type=Path, default=Path("copy.sqlite"))
    parser.add_argument("--port", type=int, default=9000)
    said = parser.parse_args()
    copy = Copy(said.database)
    serve(copy, said.port)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(copy.consume(said.amqp_url, said.queue))


if __name__ == "__main__":
    main()
