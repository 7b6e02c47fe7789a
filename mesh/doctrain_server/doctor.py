"""Looks at the settings and at what they point to, and says what is well and what is not."""

from __future__ import annotations

from dataclasses import dataclass

from doctrain_coordinator.store.migrate import VERSION
from doctrain_mesh import postgres
from doctrain_mesh.errors import DoctrainError
from doctrain_mesh.settings import Settings
from doctrain_mesh.supervise import deadline
from doctrain_server import adapters
from doctrain_worker.sandbox import isolation

ANSWER_SECONDS = 10.0
UNSAFE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


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
    findings.append(await _answers("registry", settings))
    return findings


def _sandbox(settings: Settings) -> Finding:
    try:
        chosen = isolation.choose(settings.sandbox)
    except isolation.IsolationUnavailableError as error:
        return Finding("sandbox", False, str(error))
    return Finding("sandbox", chosen.way != "rlimit", chosen.describe())


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
            for name, unsafe in UNSAFE.items():
                value = await connection.fetchval("select current_setting($1)", name)
                sentence = f"Is {value}." if value != unsafe else f"Is {value}: a crash of the server can lose what was recorded."
                found.append(Finding(name, value != unsafe, sentence))
            if await connection.fetchval("select to_regclass('schema_version') is not null"):
                known = await connection.fetchval("select version from schema_version")
                found.append(Finding("schema", known == VERSION, f"Version {known}; this program's is {VERSION}."))
            return found
    except DoctrainError as error:
        return [Finding("database", False, error.sentence)]
    finally:
        await postgres.close_connection(connection)


async def _answers(part: str, settings: Settings) -> Finding:
    try:
        async with deadline(f"Asking the {part}", ANSWER_SECONDS):
            if part == "broker":
                async with adapters.open_broker(settings) as broker:
                    waiting = await broker.depth()
                return Finding(part, True, f"Answers; {waiting} messages are ready.")
            async with adapters.open_registry(settings) as registry:
                known = await registry.list("/doctrain/")
            return Finding(part, True, f"Answers; {len(known)} records.")
    except DoctrainError as error:
        return Finding(part, False, error.sentence)
