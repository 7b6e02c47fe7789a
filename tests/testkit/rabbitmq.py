"""RabbitMQ, one node, kept apart from the machine's own: node name, cookie, name service, folders and ports are all its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from uuid import uuid4

import aio_pika

from testkit.server import Server, free_port, unavailable

# Debian's rabbitmq-server on PATH is a wrapper that becomes the user rabbitmq in /var/lib; this is what it wraps.
_DEBIAN = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")

Resource = Literal["memory", "disk"]
# How rabbitmqctl sets a limit, one that no machine keeps, and the one that the node starts with.
_LIMITS: dict[Resource, tuple[tuple[str, ...], str, str]] = {
    "memory": (("set_vm_memory_high_watermark", "absolute"), "1MB", "2GB"),
    "disk": (("set_disk_free_limit",), "1000000GB", "50MB"),
}


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """Where a test's broker is: the server's URL, and a queue name that no other test has."""

    url: str
    queue: str


class RabbitMQServer(Server):
    """A RabbitMQ node on 127.0.0.1.

    From its next start on ``advanced`` is the text of its advanced.config, and with ``tls`` (certificate, key) it listens on
    ``tls_port`` too, where with ``of_clients`` (a CA) clients need a certificate.
    """

    name = "RabbitMQ"

    def __init__(self, folder: Path, users_lock: Path, port: int | None = None) -> None:
        super().__init__(folder, users_lock, port)
        self.advanced = "[]."
        self.tls: tuple[Path, Path] | None = None
        self.of_clients: Path | None = None
        self.tls_port = free_port()
        self._names_port, self._node_port = free_port(), free_port()

    @property
    def url(self) -> str:
        """As the setting ``broker_url`` takes it."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def prepare(self) -> None:
        settings = {
            "listeners.tcp.1": f"127.0.0.1:{self.port}",
            "num_acceptors.tcp": "2",
            "vm_memory_high_watermark.absolute": _LIMITS["memory"][2],
            "disk_free_limit.absolute": _LIMITS["disk"][2],
            "raft.wal_max_size_bytes": "16000000",
        }
        if self.tls:
            settings |= {
                "listeners.ssl.1": f"127.0.0.1:{self.tls_port}",
                "ssl_options.certfile": str(self.tls[0]),
                "ssl_options.keyfile": str(self.tls[1]),
            }
        if self.of_clients:
            settings |= {
                "ssl_options.cacertfile": str(self.of_clients),
                "ssl_options.verify": "verify_peer",
                "ssl_options.fail_if_no_peer_cert": "true",
            }
        (self.folder / "rabbitmq.conf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
        (self.folder / "advanced.config").write_text(self.advanced)
        (self.folder / "plugins").write_text("[].")
        (self.folder / "environment.conf").write_text("")

    def command(self) -> list[str]:
        program = str(_DEBIAN) if _DEBIAN.exists() else shutil.which("rabbitmq-server")
        epmd = shutil.which("epmd")
        if program is None or epmd is None:
            unavailable(self.name)
        # The name service first and in this process group: one that the node starts by itself would become a daemon.
        script = f'"{epmd}" -port {self._names_port} & exec "{program}" -noinput'
        return ["/bin/sh", "-c", script]

    def environment(self) -> dict[str, str]:
        folder = self.folder
        return {
            "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin",
            "HOME": str(folder),  # the Erlang cookie's place
            "ERL_EPMD_PORT": str(self._names_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_CRASH_DUMP_SECONDS": "0",
            "RABBITMQ_ALLOW_INPUT": "1",  # the script becomes the node instead of waiting for it
            "RABBITMQ_NODENAME": f"doctrain{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "environment.conf"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "logs"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +A 16 +sbwt none",
        }

    def answers(self) -> bool:
        """Greets and waits for the node's own greeting (Connection.Start)."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.settimeout(2)
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return connection.recv(1) == b"\x01"
        except OSError:
            return False

    async def settle(self) -> None:
        """Waits until queues that were just declared would survive a kill.

        RabbitMQ 3.10 writes the directory of its Raft servers every half second. Killed before, it comes back with a queue
        that never elects a leader (measured: always within 0.5 s of the declaration, never after 1 s). Nothing shows it.
        """
        await asyncio.sleep(1.2)

    @asynccontextmanager
    async def alarm(self, short_of: Resource = "memory") -> AsyncIterator[None]:
        """While open the node believes itself short of memory or disk: it reads no connection that publishes."""
        setting, short, enough = _LIMITS[short_of]
        await self.ask(*setting, short)
        try:
            yield
        finally:
            await self.ask(*setting, enough)

    async def ask(self, *arguments: str) -> str:
        """rabbitmqctl, and what it prints; takes a second or two."""
        program = _DEBIAN.with_name("rabbitmqctl")
        command = [str(program) if program.exists() else "rabbitmqctl", "-n", self.environment()["RABBITMQ_NODENAME"], *arguments]
        process = await asyncio.create_subprocess_exec(*command, env={**os.environ, **self.environment()}, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
        assert process.returncode == 0, f"rabbitmqctl {' '.join(arguments)} failed"
        return output.decode()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[QueuePlace]:
        """A queue name of the caller's own; the queue and what belongs to it are deleted at the end."""
        place = QueuePlace(self.url, f"t{uuid4().hex[:12]}")
        try:
            yield place
        finally:
            if self.answers():
                await _delete(place)


async def _delete(place: QueuePlace) -> None:
    connection = await aio_pika.connect(place.url, timeout=10)
    async with connection, connection.channel() as channel:
        for queue in (place.queue, f"{place.queue}.dead"):
            await channel.queue_delete(queue, timeout=10)
        await channel.exchange_delete(f"{place.queue}.dead", timeout=10)
