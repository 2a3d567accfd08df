"""A RabbitMQ node of one's own: no root, no service, loopback only (RabbitMQ 3.10 and later, Debian's paths)."""

import base64
import json
import os
import subprocess
import urllib.error
import urllib.request
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench.lab.halves import on
from bench.lab.process import Server, free_port, listens, wait_until
from bench.lab.programs import program

USER = SECRET = "lab"
START_TIMEOUT_S = 90.0
SCHEDULERS = max(1, (os.cpu_count() or 1) // 2)
"""Half of the cores: gateway, Mosquitto, units and consumers have the others."""


class RabbitMQNode:
    """One node with the management plugin; each test gets a virtual host of its own by `vhost()`."""

    def __init__(
        self,
        folder: Path,
        plugins: Sequence[str] = ("rabbitmq_management",),
        lines: Sequence[str] = (),
        cores: Collection[int] | None = None,
    ) -> None:
        """It runs on these `cores`, a scheduler on each; on any, where that is None."""
        self.folder, self._cores = folder, cores
        schedulers = len(cores) if cores else SCHEDULERS
        self.port, self.management_port = free_port(), free_port()
        self._epmd_port, distribution_port = free_port(), free_port()
        (folder / "home").mkdir(parents=True)
        (folder / "enabled_plugins").write_text(f"[{','.join(plugins)}].")
        self._write_config(lines)
        self._environment = os.environ | {
            "HOME": str(folder / "home"),
            "LANG": "C.UTF-8",
            "RABBITMQ_NODENAME": f"lab{os.getpid()}-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(distribution_port),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd_port),
            # Idle schedulers that spin take the processor from those who work, and so do more of them than there is room for.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                f"-kernel inet_dist_use_interface {{127,0,0,1}} +S {schedulers}:{schedulers} "
                "+sbwt none +sbwtdcpu none +sbwtdio none"
            ),
        }
        epmd_folder = folder / "epmd"
        epmd_folder.mkdir()
        self._epmd = Server([program("epmd"), "-address", "127.0.0.1", "-port", str(self._epmd_port)], epmd_folder)
        self._server = Server([program("rabbitmq-server")], folder, self._environment)

    def _write_config(self, lines: Sequence[str]) -> None:
        config = [
            f"listeners.tcp.default = 127.0.0.1:{self.port}",
            f"management.tcp.port = {self.management_port}",
            "management.tcp.ip = 127.0.0.1",
            f"default_user = {USER}",
            f"default_pass = {SECRET}",
            "vm_memory_high_watermark.absolute = 2GB",
            "disk_free_limit.absolute = 50MB",
            # When its log is full it is written into queues' segments, and everybody waits: 512 MB at once for half a second.
            "raft.wal_max_size_bytes = 4194304",
            "log.file.level = warning",
            "management_agent.disable_metrics_collector = false",
            # Rates that nobody looks at cost each message some 5 % of what the node does for it.
            "management.rates_mode = none",
        ]
        (self.folder / "rabbitmq.conf").write_text("\n".join([*config, *lines, ""]))

    @property
    def pid(self) -> int:
        """Of the shell that started the node; the node's own processes are its children."""
        return self._server.pid

    @property
    def management_url(self) -> str:
        """http://user:secret@host:port of the management plugin; its user is an administrator."""
        return f"http://{USER}:{SECRET}@127.0.0.1:{self.management_port}"

    def url(self, vhost: str = "/") -> str:
        """amqp://user:secret@host:port/vhost"""
        return f"amqp://{USER}:{SECRET}@127.0.0.1:{self.port}/{quote(vhost, safe='')}"

    def start(self) -> None:
        """Start it and wait until it serves; what was durable is there again."""
        if not self._epmd.running:
            self._epmd.start()
            self._epmd.wait_for_port(self._epmd_port)
        with on(self._cores):
            self._server.start()
        wait_until(self._serves, START_TIMEOUT_S, "the RabbitMQ node")

    def stop(self) -> None:
        """End the node in order, and its epmd."""
        self._server.stop(timeout_s=30.0)
        self._epmd.stop()

    def kill(self) -> None:
        """SIGKILL: what was not on disk is gone. `start()` brings it back.

        A quorum queue must be a second old to come back: RabbitMQ 3.10 writes the list of them to disk that late.
        """
        self._server.kill()
        wait_until(lambda: not listens(self.port), 10.0, "the end of the killed node")

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self._server.freeze()

    def thaw(self) -> None:
        """SIGCONT."""
        self._server.thaw()

    def write_down(self) -> None:
        """Have the youngest queues and bindings on disk: RabbitMQ 3.10 writes them later, and killed before that loses them."""
        self.ctl("eval", "mnesia:sync_log(), [dets:sync(Table) || Table <- dets:all()].")

    def ctl(self, *words: str) -> str:
        """`rabbitmqctl` against this node (takes a second or two: prefer `management`)."""
        command = [program("rabbitmqctl"), "-q", *words]
        return subprocess.run(command, env=self._environment, check=True, capture_output=True, text=True, timeout=60).stdout

    def management(self, method: str, path: str, body: Any = None, timeout_s: float = 10.0) -> Any:
        """One call of the management API, `path` such as `/queues/%2F`; the answer's JSON, or None without a body."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.management_port}/api{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Content-Type": "application/json",
                "Authorization": "Basic " + base64.b64encode(f"{USER}:{SECRET}".encode()).decode(),
            },
        )
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    @contextmanager
    def vhost(self) -> Iterator[str]:
        """A fresh virtual host, gone at the end with all in it."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        self.management("PUT", f"/vhosts/{name}", {})
        self.management("PUT", f"/permissions/{name}/{USER}", {"configure": ".*", "write": ".*", "read": ".*"})
        try:
            yield name
        finally:
            if self._serves():
                self.management("DELETE", f"/vhosts/{name}")

    def _serves(self) -> bool:
        if not self._server.running:
            raise RuntimeError(f"RabbitMQ ended: {self._server.output[-2000:]}")
        try:
            return bool(self.management("GET", "/health/checks/port-listener/" + str(self.port))["status"] == "ok")
        except (OSError, urllib.error.URLError, ValueError):
            return False


@contextmanager
def rabbitmq(
    folder: Path,
    plugins: Sequence[str] = ("rabbitmq_management",),
    lines: Sequence[str] = (),
    cores: Collection[int] | None = None,
) -> Iterator[RabbitMQNode]:
    """A running node, ended at the end."""
    node = RabbitMQNode(folder, plugins, lines, cores)
    try:
        node.start()
        yield node
    finally:
        node.stop()
