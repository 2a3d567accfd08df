"""A Mosquitto of its own folder and port."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.lab.process import Server, free_port
from bench.lab.programs import program


class MosquittoBroker(Server):
    """Listens on 127.0.0.1:`port`. Without a password file everybody may do everything."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        password_file: Path | None = None,
        acl_file: Path | None = None,
        lines: Sequence[str] = (),
        log_type: str = "all",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.config_file = folder / "mosquitto.conf"
        config = [f"listener {self.port} 127.0.0.1", f"allow_anonymous {str(password_file is None).lower()}"]
        config += [f"password_file {password_file}"] if password_file else []
        config += [f"acl_file {acl_file}"] if acl_file else []
        config += ["user root"] if os.geteuid() == 0 else []
        config += [
            "persistence true",
            f"persistence_location {folder}/",
            "log_dest stderr",
            f"log_type {log_type}",
        ]
        config += [] if any(line.startswith("max_queued_messages") for line in lines) else ["max_queued_messages 0"]
        self.config_file.write_text("\n".join([*config, *lines, ""]))
        super().__init__([program("mosquitto"), "-c", self.config_file], folder)

    @property
    def url(self) -> str:
        """mqtt://127.0.0.1:port"""
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it listens."""
        super().start()
        self.wait_for_port(self.port)

    def reload(self) -> None:
        """SIGHUP: password and ACL files are read again."""
        self.send(signal.SIGHUP)


@contextmanager
def mosquitto(
    folder: Path,
    *,
    port: int | None = None,
    password_file: Path | None = None,
    acl_file: Path | None = None,
    lines: Sequence[str] = (),
    log_type: str = "all",
) -> Iterator[MosquittoBroker]:
    """A running Mosquitto, ended at the end; `lines` go into its configuration, after the listener."""
    broker = MosquittoBroker(folder, port=port, password_file=password_file, acl_file=acl_file, lines=lines, log_type=log_type)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()
