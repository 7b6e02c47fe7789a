"""Brings a database to this version's schema; safe to run from every coordinator at once.

Before the first release the schema is one file and has version 1, whatever it holds: a hash of the file stands beside the
version, and a database that another file made is refused. From the release on, ``migrations/NNNN_*.sql`` carry an older
database forward and a test proves that they end in the same schema.
"""

from __future__ import annotations

import hashlib
import re
from importlib import resources

import asyncpg

from doctrain_mesh import postgres
from doctrain_mesh.errors import ConfigurationError

VERSION = 1
_LOCK = 0x646F63747261696E


async def migrate(url: str) -> str:
    """Creates or upgrades the schema under an advisory lock, and says in a sentence what it did.

    Raises ConfigurationError for a schema that this program cannot carry forward.
    """
    connection = await postgres.connect(url, starting=True)
    try:
        async with postgres.available("migrating"), connection.transaction():
            await connection.execute("select pg_advisory_xact_lock($1)", _LOCK)
            await connection.execute("create table if not exists schema_version (version int not null)")
            await connection.execute("alter table schema_version add column if not exists made_by text")
            row = await connection.fetchrow("select version, made_by from schema_version")
            if row is None:
                await _make(connection)
                await connection.execute("insert into schema_version values ($1, $2)", VERSION, fingerprint())
                return f"The database was empty; it has schema version {VERSION} now."
            check(row["version"], row["made_by"])
            newer = [(number, text) for number, text in _migrations() if number > row["version"]]
            for number, text in newer:
                await connection.execute(text)
                await connection.execute("update schema_version set version = $1", number)
    except asyncpg.InsufficientPrivilegeError as error:
        raise ConfigurationError(
            f"Postgres does not let this user make the schema ({error}); give it a database of its own, "
            "and run `create extension vector` there as a superuser."
        ) from error
    finally:
        await postgres.close_connection(connection)
    if newer:
        return f"The database was brought from schema version {row['version']} to {VERSION}."
    return f"The database has schema version {VERSION} already."


async def _make(connection: postgres.Connection) -> None:
    try:
        await connection.execute(_read("schema.sql"))
    except (asyncpg.FeatureNotSupportedError, asyncpg.UndefinedFileError) as error:
        raise ConfigurationError("The Postgres server has no pgvector; install it there.") from error


async def known(connection: postgres.Connection) -> tuple[int, str | None] | None:
    """The version of the schema and what made it; None when there is none."""
    if not await connection.fetchval("select to_regclass('schema_version') is not null"):
        return None
    row = await connection.fetchrow("select version, to_jsonb(schema_version) ->> 'made_by' as made_by from schema_version")
    return None if row is None else (row["version"], row["made_by"])


def check(version: int, made_by: str | None) -> None:
    """Raises ConfigurationError when this program cannot work on such a schema, or carry it forward."""
    if version > VERSION:
        raise ConfigurationError(f"The database has schema version {version}; this program knows {VERSION}. Run the newer program.")
    if VERSION == 1 and made_by != fingerprint():
        raise ConfigurationError(
            "The database was made by another pre-release build of doctrain, whose tables differ; start with an empty database "
            "(`doctrain dev`: with another folder)."
        )


def fingerprint() -> str:
    """Tells one pre-release schema from another."""
    return hashlib.sha256(_read("schema.sql").encode()).hexdigest()[:16]


def _read(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _migrations() -> list[tuple[int, str]]:
    folder = resources.files(__package__).joinpath("migrations")
    if not folder.is_dir():
        return []
    found = [(re.match(r"(\d{4})_\w+\.sql$", entry.name), entry) for entry in folder.iterdir()]
    return sorted((int(match[1]), entry.read_text(encoding="utf-8")) for match, entry in found if match)
