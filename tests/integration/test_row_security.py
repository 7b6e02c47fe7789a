"""The second line between tenants: what is read for one of them, Postgres shows of its rows alone, whatever a statement forgets to ask."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from doctrain.errors import DoctrainError, NothingToRetryError, TrainingNotFoundError
from doctrain_coordinator.search import searching
from doctrain_coordinator.store import tenant_rows
from doctrain_coordinator.store.migrate import migrate
from doctrain_coordinator.trainings import reading
from doctrain_mesh import postgres as pools
from doctrain_mesh.errors import ConfigurationError
from testkit.coordinator import Coordinators, coordinators
from testkit.indexing import indexing, train
from testkit.postgres import make_tenant_role

READABLE = {
    "training": "tenant = $1",
    "shard": "tenant = $1",
    "document": "training in (select id from training where tenant = $1)",
    "indexed_document": "tenant = $1",
    "chunk": "tenant = $1",
    "usage": "tenant = $1",
    "stage_usage": "tenant = $1",
}
"""The tables that are read for tenants, and which rows are a tenant's."""
FORGETTING = {
    "by_task": "select id from training where $1::bigint > 0 and task_id = $2",
    "list": "select id from training where $1::bigint > 0 and id < $2 and cardinality($3::smallint[]) = 0 order by id desc limit $4",
}
"""How trainings are found, by statements that forget their tenant."""
TABLES = "select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v')"


@pytest.fixture
async def served(postgres: str, tmp_path: Path) -> AsyncIterator[Coordinators]:
    """acme and zebra with a training each, of documents of the same names."""
    async with coordinators(postgres, tmp_path) as made, indexing(made):
        for tenant in ("acme", "zebra"):
            client = await made.tenant(tenant)
            await train(client, {"one.txt": f"A heron of {tenant}.", "two.txt": f"A stork of {tenant}."})
        c = await made.database()
        await c.execute("insert into usage select id, now(), 1, 0, 0, 0, 0 from tenant on conflict do nothing")
        await c.execute("insert into stage_usage select id, now(), 'read', 5 from tenant on conflict do nothing")
        yield made


async def tenants(c: asyncpg.Connection[Any]) -> Mapping[str, int]:
    return {row["name"]: row["id"] for row in await c.fetch("select name, id from tenant")}


async def test_each_table_shows_a_tenant_its_own_rows_or_none_at_all(served: Coordinators) -> None:
    c = await served.database()
    zebra = (await tenants(c))["zebra"]
    tables = [
        row["name"]
        for row in await c.fetch(
            "select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v')"
        )
    ]
    assert set(READABLE) < set(tables)
    for table in tables:
        whose = READABLE.get(table)
        own = whose and {row[0] for row in await c.fetch(f"select ctid::text from {table} where {whose}", zebra)}
        async with c.transaction():
            await tenant_rows.only(c, zebra)
            if whose is None:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await c.fetch(f"select count(*) from {table}")
                continue
            seen = {row[0] for row in await c.fetch(f"select ctid::text from {table}")}
        assert seen == own, table
        assert seen, table


async def test_without_a_tenant_no_row_is_seen_and_none_can_be_written(served: Coordinators) -> None:
    c = await served.database()
    for table in READABLE:
        async with c.transaction():
            await c.execute(f"set local role {tenant_rows.ROLE}")
            assert not await c.fetch(f"select 1 from {table}"), table
        for statement in (f"delete from {table}", f"insert into {table} default values", f"truncate {table}"):
            async with c.transaction():
                await tenant_rows.only(c, 1)
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    async with c.transaction():
                        await c.execute(statement)


async def test_a_statement_that_forgets_its_tenant_shows_nothing_of_another(served: Coordinators, monkeypatch: pytest.MonkeyPatch) -> None:
    acme, zebra = [await served.client(await served.key(1, tenant)) for tenant in ("acme", "zebra")]
    [of_acme] = [one.training_task_id async for one in acme.list_trainings()]
    [of_zebra] = [one.training_task_id async for one in zebra.list_trainings()]
    for name, statement in FORGETTING.items():
        monkeypatch.setitem(reading.SQL, name, statement)
    with pytest.raises(TrainingNotFoundError):
        await zebra.get_training(of_acme)
    assert [one.training_task_id async for one in zebra.list_trainings()] == [of_zebra]

    forgetting = searching.SQL["search"].replace("c.tenant = $1", "$1::bigint > 0").replace("{near}", searching.SQL["near_by_scan"])
    monkeypatch.setattr(
        searching,
        "statement",
        lambda dimensions, *, at_all: forgetting.replace("d.tenant = $1", "$1::bigint > 0").replace("{dimensions}", str(dimensions)),
    )
    hits = await zebra.search("heron", limit=20)
    assert {hit.snippet for hit in hits} == {"A heron of zebra.", "A stork of zebra."}


async def test_a_key_of_anothers_training_is_none_wherever_one_is_shown(served: Coordinators, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the key was come by: here statements forget their tenant, and no role stops them."""
    acme, zebra = [await served.client(await served.key(1, tenant)) for tenant in ("acme", "zebra")]
    [of_acme] = [one.training_task_id async for one in acme.list_trainings()]
    [of_zebra] = [one.training_task_id async for one in zebra.list_trainings()]

    async def in_no_role(c: pools.Connection, tenant: int) -> None:
        pass

    monkeypatch.setattr(tenant_rows, "only", in_no_role)
    for name, statement in FORGETTING.items():
        monkeypatch.setitem(reading.SQL, name, statement)
    reads: dict[str, Callable[[str], Awaitable[object]]] = {
        "get": zebra.get_training,
        "explain": zebra.explain,
        "documents": lambda training: anext(zebra.list_documents(training)),
        "watch": lambda training: anext(zebra.watch(training)),
        "retry": zebra.retry_failed,
        "delete": lambda training: zebra.delete_documents(training_task_id=training),
    }
    shown = []
    for name, read in reads.items():
        try:
            shown.append((name, await read(of_acme)))
        except TrainingNotFoundError:
            continue
        except DoctrainError as error:
            shown.append((name, error))
    assert shown == []
    assert [one.training_task_id async for one in zebra.list_trainings()] == [of_zebra]
    for name in reads.keys() - {"retry"}:
        assert await reads[name](of_zebra), name
    with pytest.raises(NothingToRetryError):
        await zebra.retry_failed(of_zebra)


async def test_a_connection_is_its_owners_again_after_a_read_for_a_tenant(postgres: str) -> None:
    pool = await pools.create_pool(postgres, size=1, name="test")
    async with tenant_rows.acquired(pool, 1, "reading") as c:
        assert await c.fetchval("select current_user") == tenant_rows.ROLE
    with contextlib.suppress(ValueError):
        async with tenant_rows.acquired(pool, 1, "failing"):
            raise ValueError
    async with pools.acquired(pool, "looking") as c:
        assert tuple(await c.fetchrow("select current_user, reading_tenant()") or ()) == ("postgres", None)
    await pools.close_pool(pool)


async def test_a_user_that_owns_its_database_alone_serves_tenants(empty_postgres: str, tmp_path: Path) -> None:
    user = f"owner_{secrets.token_hex(4)}"
    administrator = await asyncpg.connect(empty_postgres)
    database = empty_postgres.rpartition("/")[2]
    try:
        await administrator.execute("create extension vector")
        await make_tenant_role(administrator)
        await administrator.execute(f"create role {user} login nosuperuser; alter database {database} owner to {user}")
        url = empty_postgres.replace("postgres@", f"{user}@")
        with pytest.raises(ConfigurationError, match=f"grant {tenant_rows.ROLE}"):
            await migrate(url)
        await administrator.execute(f"grant {tenant_rows.ROLE} to {user}")
        async with coordinators(url, tmp_path) as made, indexing(made):
            client = await made.tenant("acme")
            trained = await train(client, {"one.txt": "A heron."})
            assert [one.training_task_id async for one in client.list_trainings()] == [trained.training_task_id]
            assert [hit.snippet for hit in await client.search("heron")] == ["A heron."]
    finally:
        await administrator.execute(
            f"alter database {database} owner to postgres; reassign owned by {user} to postgres; drop owned by {user}; drop role {user}"
        )
        await administrator.close()


async def test_a_database_whose_role_may_not_read_is_refused_at_the_start(postgres: str) -> None:
    c = await asyncpg.connect(postgres)
    await c.execute(f"revoke select on training from {tenant_rows.ROLE}")
    await c.close()
    with pytest.raises(ConfigurationError, match="a dump of a database has no roles"):
        await migrate(postgres)
