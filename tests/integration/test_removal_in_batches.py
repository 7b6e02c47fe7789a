"""What is deleted or old is removed in batches of limited size, and all of it by the coordinator that looks once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import asyncpg
import pytest

from doctrain.v1 import training_pb2 as pb
from doctrain_coordinator.removal import removals, tenants, trainings, uploads
from testkit.coordinator import coordinators
from testkit.indexing import indexing, train
from testkit.waiting import wait_until

pytestmark = [pytest.mark.timeout(120)]

MOST, COUNT = 2, 5
REMOVED = ("document", "chunk", "indexed_document", "deleted_document", "upload", "audit_entry")
NOTES = [
    "create table batch (name text, rows bigint)",
    """create function note() returns trigger language plpgsql as
    $$ begin insert into batch select tg_table_name, count(*) from gone; return null; end $$""",
    """create function note_half_removed() returns trigger language plpgsql as
    $$ begin insert into batch select tg_table_name, count(*) from removed_training; return null; end $$""",
    "create trigger note after insert on removed_training for each statement execute function note_half_removed()",
    *(
        f"create trigger note after delete on {table} referencing old table as gone for each statement execute function note()"
        for table in REMOVED
    ),
]
"""Triggers that write down how many rows each statement removes, and how many trainings are half removed at once."""


@pytest.fixture(autouse=True)
def _small_batches_and_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in (
        (trainings, "TRAININGS_AT_ONCE"),
        (trainings, "DOCUMENTS_AT_ONCE"),
        (tenants, "TRAININGS_AT_ONCE"),
        (tenants, "ROWS_AT_ONCE"),
        (uploads, "AT_ONCE"),
        (removals, "ENTRIES_AT_ONCE"),
    ):
        monkeypatch.setattr(module, name, MOST)
    monkeypatch.setattr(removals, "LOOK_SECONDS", 3600.0)


async def batches(database: asyncpg.Connection[Any]) -> dict[str, tuple[int, int]]:
    """The most rows of one batch, and those of all, by table."""
    rows = await database.fetch("select name, max(rows) as most, sum(rows) as all from batch group by name")
    return {row["name"]: (row["most"], int(row["all"])) for row in rows}


async def test_what_is_too_old(postgres: str, tmp_path: Path) -> None:
    async with coordinators(postgres, tmp_path) as served:
        acme, database = await served.tenant("acme"), await served.database()
        numbered = pb.NumberedDocuments(uri_template="s3://bucket/{n}", first=0, count=COUNT)
        for number in range(COUNT):
            await acme.upload(str(number).encode())
            started = await acme.start_training(numbered=numbered)
            await acme.cancel(started.training.training_task_id)
        await wait_until(lambda: database.fetchval("select bool_and(counted) from shard"), 30)
        for statement in (
            "update training set ended_at = now() - interval '31 days'",
            "update upload set stored_at = now() - interval '31 days'",
            "update audit_entry set happened_at = now() - interval '31 days'",
            *NOTES,
        ):
            await database.execute(statement)
        entries = await database.fetchval("select count(*) from audit_entry")

    assert entries > MOST * 2
    async with coordinators(postgres, tmp_path, keep_trainings_days=30.0, keep_uploads_days=30.0, keep_audit_days=30.0) as served:
        database = await served.database()
        left = "select (select count(*) from training) + (select count(*) from removed_training) + (select count(*) from upload)"
        await wait_until(lambda: database.fetchval(f"select ({left}) + (select count(*) from audit_entry) = 0"), 60)
        removed = await batches(database)
    assert removed["document"] == (MOST, COUNT * COUNT)
    assert removed["upload"] == (MOST, COUNT)
    assert removed["audit_entry"] == (MOST, entries)
    assert removed["removed_training"][0] == MOST


async def test_a_deleted_tenant(postgres: str, tmp_path: Path) -> None:
    async with coordinators(postgres, tmp_path) as served:
        acme, database = await served.tenant("acme"), await served.database()
        async with indexing(served):
            await train(acme, {f"{number}.txt": "One passage.\n\nAnother one." for number in range(COUNT)})
        for number in range(COUNT):
            await database.execute(
                "insert into deleted_document (tenant, document_id, place, called_at, due_at) "
                "select id, $1, 1, now(), now() + interval '1 day' from tenant where name = 'acme'",
                f"deleted-{number}.txt",
            )
            await acme.start_training(numbered=pb.NumberedDocuments(uri_template="s3://bucket/{n}", first=0, count=COUNT))
        for statement in NOTES:
            await database.execute(statement)
        operator = await served.client(await served.key(3))
        await operator.fleet.delete_tenant("acme")

    async with coordinators(postgres, tmp_path) as served:
        database = await served.database()
        await wait_until(lambda: database.fetchval("select not exists (select from tenant where name = 'acme')"), 60)
        removed = await batches(database)
        assert await database.fetchval("select count(*) from document") == 0
    assert removed["document"] == (MOST, COUNT + COUNT * COUNT)
    assert removed["chunk"] == (MOST, COUNT * 2)
    assert removed["indexed_document"] == (MOST, COUNT)
    assert removed["deleted_document"] == (MOST, COUNT)
    assert removed["removed_training"][0] == MOST
