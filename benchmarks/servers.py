"""Real servers for a measurement: started on free ports and temporary folders, gone with it."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from testkit.etcd import EtcdServer
from testkit.postgres import PostgresServer
from testkit.rabbitmq import RabbitMQServer
from testkit.server import own_server


class DurablePostgres(PostgresServer):
    """As a deployment has it: fsync on, with commit timestamps to measure by."""

    def __init__(self, folder: Path, users_lock: Path, port: int | None = None) -> None:
        settings = {"fsync": "on", "shared_buffers": "512MB", "max_wal_size": "8GB", "track_commit_timestamp": "on"}
        super().__init__(folder, users_lock, port, **settings)


@dataclass
class Servers:
    """What runs, and the processes whose CPU is counted."""

    postgres: PostgresServer
    rabbitmq: RabbitMQServer
    etcd: EtcdServer

    @asynccontextmanager
    async def environment(self, folder: Path) -> AsyncIterator[dict[str, str]]:
        """Settings of a mesh on a fresh database and queue."""
        async with self.postgres.database() as database, self.rabbitmq.place() as place:
            yield {
                "DOCTRAIN_DATABASE_URL": database,
                "DOCTRAIN_BROKER_URL": place.url,
                "DOCTRAIN_BROKER_QUEUE": place.queue,
                "DOCTRAIN_REGISTRY_URL": self.etcd.url,
                "DOCTRAIN_BLOB_URL": (folder / "blobs").as_uri(),
                "DOCTRAIN_LOG_LEVEL": "WARNING",
            }


@contextmanager
def servers() -> Iterator[Servers]:
    """Postgres, RabbitMQ and etcd of this measurement alone."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="doctrain-bench-")))
        folder.chmod(0o755)
        homes = [folder / name for name in ("postgres", "rabbitmq", "etcd")]
        for home in homes:
            home.mkdir(mode=0o755)
        yield Servers(
            stack.enter_context(own_server(DurablePostgres, homes[0])),
            stack.enter_context(own_server(RabbitMQServer, homes[1])),
            stack.enter_context(own_server(EtcdServer, homes[2])),
        )
