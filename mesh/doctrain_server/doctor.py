"""Looks at the settings and at what they point to, and says what is well and what is not; services that start log the latter."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from doctrain_coordinator.store.migrate import VERSION
from doctrain_mesh import postgres
from doctrain_mesh.errors import DoctrainError
from doctrain_mesh.settings import Settings
from doctrain_mesh.supervise import deadline
from doctrain_server import adapters
from doctrain_worker.sandbox import isolation

log = logging.getLogger(__name__)
ANSWER_SECONDS = 10.0
LONGEST_STATEMENT_MS = 120_000
FEWEST_CONNECTIONS = 60
OLDEST_POSTGRES = 140_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    good: bool
    sentence: str


async def examine(settings: Settings) -> list[Finding]:
    """Every finding; a part that is not set is not asked."""
    findings = [_sandbox(settings)]
    if settings.database_url:
        findings += await _database(settings)
    else:
        findings.append(Finding("database", True, "Not set; `doctrain dev` brings its own."))
    findings.append(await _answers("broker", settings))
    findings.append(_hold(settings))
    findings.append(await _answers("registry", settings))
    return findings


def _sandbox(settings: Settings) -> Finding:
    try:
        chosen = isolation.choose(settings.sandbox)
    except isolation.IsolationUnavailableError as error:
        return Finding("sandbox", False, str(error))
    return Finding("sandbox", chosen.way != "rlimit", chosen.describe())


def _hold(settings: Settings) -> Finding:
    held, limit = settings.longest_hold_seconds, settings.broker_consumer_timeout_seconds
    sentence = f"A shard is held for {held:g} s at most; RabbitMQ's consumer_timeout is taken to be {limit:g} s: see that it is."
    return Finding("hold time", True, sentence)


async def _database(settings: Settings) -> list[Finding]:
    try:
        connection = await postgres.connect(settings.database_url)
    except DoctrainError as error:
        return [Finding("database", False, error.sentence)]
    try:
        async with postgres.available("looking at Postgres"), deadline("Looking at Postgres", ANSWER_SECONDS):
            version = await connection.fetchval("show server_version")
            found = [Finding("database", True, f"PostgreSQL {version}.")]
            vector = await connection.fetchval("select count(*) from pg_available_extensions where name = 'vector'")
            found.append(Finding("pgvector", bool(vector), "Available." if vector else "Missing; install pgvector on the server."))
            said = {row["name"]: row["setting"] for row in await connection.fetch("select name, setting from pg_settings")}
            found += judge(said, in_recovery=await connection.fetchval("select pg_is_in_recovery()"))
            if await connection.fetchval("select to_regclass('schema_version') is not null"):
                known = await connection.fetchval("select version from schema_version")
                found.append(Finding("schema", known == VERSION, f"Version {known}; this program's is {VERSION}."))
            return found
    except DoctrainError as error:
        return [Finding("database", False, error.sentence)]
    finally:
        await postgres.close_connection(connection)


def judge(said: Mapping[str, str], *, in_recovery: bool) -> list[Finding]:
    """What Postgres's settings mean for what is recorded; ``said`` is ``pg_settings`` by name."""
    lossy = "A crash of the server can lose what was recorded."
    rules = (
        ("fsync", said["fsync"] == "on", lossy),
        ("full_page_writes", said["full_page_writes"] == "on", lossy),
        ("synchronous_commit", said["synchronous_commit"] != "off", lossy),
        ("default_transaction_isolation", said["default_transaction_isolation"] == "read committed", "Guards need `read committed`."),
        ("default_transaction_read_only", said["default_transaction_read_only"] == "off" and not in_recovery, "Nothing can be recorded."),
        ("server_encoding", said["server_encoding"] == "UTF8", "Documents hold text that it cannot store."),
        ("server_version_num", int(said["server_version_num"]) >= OLDEST_POSTGRES, "PostgreSQL 14 is the oldest that is supported."),
        (
            "max_connections",
            int(said["max_connections"]) >= FEWEST_CONNECTIONS,
            "A coordinator takes about 25, a worker its children and 2.",
        ),
        *(
            (name, not 0 < int(said.get(name, "0")) < LONGEST_STATEMENT_MS, "Loading a large training takes longer.")
            for name in ("statement_timeout", "transaction_timeout", "lock_timeout")
        ),
    )
    return [Finding(name, good, f"Is {said.get(name, 'not known here')}.{'' if good else f' {danger}'}") for name, good, danger in rules]


@asynccontextmanager
async def warning(settings: Settings) -> AsyncIterator[None]:
    """Logs what ``examine`` finds unsafe, beside a service that starts and that need not wait for it."""

    async def warn() -> None:
        for finding in await examine(settings):
            if not finding.good:
                log.warning("%s: %s", finding.subject, finding.sentence)

    async with asyncio.TaskGroup() as group:
        look = group.create_task(warn(), name="look at the settings")
        try:
            yield
        finally:
            look.cancel()


async def _answers(part: str, settings: Settings) -> Finding:
    try:
        async with deadline(f"Asking the {part}", ANSWER_SECONDS):
            if part == "broker":
                async with adapters.open_broker(settings) as broker:
                    waiting, faults = await broker.depth(), await broker.faults()
                return Finding(part, not faults, " ".join([f"Answers; {waiting} messages are ready.", *faults]))
            async with adapters.open_registry(settings) as registry:
                known = await registry.list("/doctrain/")
            return Finding(part, True, f"Answers; {len(known)} records.")
    except DoctrainError as error:
        return Finding(part, False, error.sentence)
