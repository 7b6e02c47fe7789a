"""What the mesh is trusted with shows nowhere: keys and passwords are in no log, trace, answer, record or table, whatever goes wrong."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

import doctrain
from doctrain import errors
from doctrain.v1 import training_pb2 as pb
from doctrain_mesh.registry.etcd import EtcdRegistry
from testkit.etcd import EtcdServer
from testkit.mesh import Mesh, mesh
from testkit.otlp import Receiver, receiver
from testkit.postgres import PostgresServer
from testkit.rabbitmq import QueuePlace
from testkit.tenants import tenant
from testkit.waiting import wait_until

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("meshes in change")]

CANARY = "kanarie"
"""Stands in every secret of the test's settings. Those that the mesh makes are looked for whole."""


@dataclass
class Trusted:
    """A mesh with secrets, and all that was said to its clients."""

    mesh: Mesh
    collector: Receiver
    secrets: list[str] = field(default_factory=lambda: [CANARY])
    said: list[str] = field(default_factory=list)

    def heard(self, error: errors.DoctrainError) -> None:
        self.said += [str(error), repr(error), repr(vars(error)), repr(error.__cause__)]

    def shown_in(self, text: str) -> list[str]:
        """The secrets that stand there, as they are or as Postgres writes bytes."""
        return [secret for secret in self.secrets if secret in text or secret.encode().hex() in text]


@pytest.fixture
async def trusted(own_postgres: PostgresServer, rabbitmq: QueuePlace, own_etcd: EtcdServer, tmp_path: Path) -> AsyncIterator[Trusted]:
    async with own_postgres.database() as url, receiver() as collector:
        environment = {
            "DOCTRAIN_DATABASE_URL": url.replace("postgres@", f"postgres:{CANARY}@"),  # any password will do there
            "DOCTRAIN_BROKER_URL": rabbitmq.url,
            "DOCTRAIN_BROKER_QUEUE": rabbitmq.queue,
            "DOCTRAIN_REGISTRY_URL": own_etcd.url,
            "DOCTRAIN_BLOB_URL": (tmp_path / "blobs").as_uri(),
            "DOCTRAIN_EMBEDDING_KEY": f"sk-{CANARY}",
            "DOCTRAIN_STAGE_READ": "telling_stage:read",
            "DOCTRAIN_OTLP_ENDPOINT": collector.endpoint,
            "DOCTRAIN_TRACE_DOCUMENTS": "1",
            "DOCTRAIN_LOG_LEVEL": "DEBUG",
            "DOCTRAIN_DEPENDENCY_LOG_LEVEL": "DEBUG",
            "DOCTRAIN_CHILDREN": "1",
            "DOCTRAIN_ALLOW_PRIVATE_ADDRESSES": "true",
            "AWS_ACCESS_KEY_ID": f"AKIA{CANARY}",
            "AWS_SECRET_ACCESS_KEY": f"s3-{CANARY}",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")])),
        }
        (tmp_path / "blobs").mkdir()
        async with mesh(tmp_path, environment) as running:
            yield Trusted(running, collector, secrets=[CANARY, running.operator_key, running.worker_key])


CONTENTS = {"crash": b"CRASH", "raise": b"RAISE", "tell": f"TELL {CANARY}".encode(), "text": b"Herons nest by the river."}
AWAY = {"closed": "https://127.0.0.1:1/private", "bucket": "s3://bucket/none", "nowhere": "https://no-such-host.invalid/"}
"""What these lead to is waited for: they are tried again and again."""


async def test_no_secret_shows_in_logs_traces_answers_records_and_tables(
    trusted: Trusted, own_postgres: PostgresServer, own_etcd: EtcdServer, rabbitmq: QueuePlace
) -> None:
    running = trusted.mesh
    coordinator = await running.coordinator("coordinator")
    worker = await running.worker("worker")
    wrong = urlsplit(rabbitmq.url)
    await running.worker("locked-out", DOCTRAIN_BROKER_URL=wrong._replace(netloc=f"guest:{CANARY}@127.0.0.1:{wrong.port}").geturl())
    with pytest.raises(AssertionError, match="did not start"):
        await running.worker("refused", DOCTRAIN_WORKER_KEY=f"dt_worker_{CANARY}")
    async with doctrain.AsyncClient(running.addresses, api_key=f"dt_tenant_{CANARY}") as unknown:
        with pytest.raises(errors.UnauthenticatedError) as refusal:
            await unknown.get_training("t")
        trusted.heard(refusal.value)

    client = await tenant(running, "acme", "paid")
    async with client:
        waiting = await client.start_training([pb.DocumentInput(document_id=name, uri=uri) for name, uri in AWAY.items()])
        started = await client.start_training([pb.DocumentInput(document_id=name, content=content) for name, content in CONTENTS.items()])
        ended = await client.wait(started.training.training_task_id)
        assert (ended.completed, ended.failed) == (1, 3)
        failed = {one.document_id: one.error async for one in client.list_documents(started.training.training_task_id)}
        assert failed["tell"].message == "Known: []"
        assert failed["crash"].code == "CRASHED"
        await wait_until(lambda: "The object store did not answer" in worker.log.read_text(), 60)
        explained = await client.explain(waiting.training.training_task_id)
        trusted.said += [str(ended), str(failed), str(await client.search("herons")), str(explained)]
        await client.cancel(waiting.training.training_task_id)

        own_postgres.kill()
        with pytest.raises(errors.UnavailableError) as away:
            await client.get_training("t")
        trusted.heard(away.value)
        await wait_until(lambda: "Postgres is away" in coordinator.log.read_text(), 60)
        await own_postgres.restart()
        again = await client.start_training([pb.DocumentInput(document_id="text", content=CONTENTS["text"])], retrain=True)
        assert (await client.wait(again.training.training_task_id)).completed == 1

    async with EtcdRegistry(own_etcd.url) as registry:
        records = await registry.list("")
    rows = await everything(running.environment["DOCTRAIN_DATABASE_URL"])
    logs = {part.log.name: part.log.read_text() for part in running.parts.values()} | {
        "refused": (running.folder / "refused.log").read_text()
    }
    for part in running.parts.values():
        await part.stop()
    logs |= {part.log.name: part.log.read_text() for part in running.parts.values()}

    assert "refused the user or password" in logs["locked-out.log"], "the wrong password was tried"
    assert "DOCTRAIN_WORKER_KEY is not the key of a worker" in logs["refused"]
    assert all(" DEBUG " in logs[name] for name in ("coordinator.log", "worker.log"))
    assert {"document", "fetch"} <= {span.name for span in trusted.collector.spans}
    assert records
    assert rows["public.api_key"]
    places: dict[str, Any] = {**logs, "traces": trusted.collector.spans, "answers": trusted.said, "etcd": records, **rows}
    assert {name: shown for name, place in places.items() if (shown := trusted.shown_in(str(place)))} == {}


async def everything(database_url: str) -> dict[str, list[str]]:
    """Every row of every table."""
    connection = await asyncpg.connect(database_url)
    try:
        named = (
            "select format('%I.%I', table_schema, table_name) from information_schema.tables "
            "where table_schema not in ('pg_catalog', 'information_schema')"
        )
        return {
            name: [str(row[0]) for row in await connection.fetch(f"select to_jsonb(t) from {name} t")]
            for name in [row[0] for row in await connection.fetch(named)]
        }
    finally:
        await connection.close()
