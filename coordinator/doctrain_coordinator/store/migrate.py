"""Gives an empty database this program's schema, and refuses one that has another; safe to run from every coordinator at once.

The schema is ``schema.sql`` beside this module, the tables, ``views.sql``, what stands upon them, and ``policies.sql``, who sees which
rows. What made a database stands in its table ``schema_version``: the version, which is 1 until the first release, and a hash of what they
say, comments aside, since until then they change without a new version. So there are three cases:

- no row: all are run, and the row is written in the same transaction;
- this version and this hash: nothing to do;
- anything else: refused with a sentence that says what to do, for nothing carries such a database forward. With the first release the hash
  gives way to migrations.
"""

from __future__ import annotations

import hashlib
import re
from importlib import resources

import asyncpg

from doctrain_coordinator.store.advisory_locks import AdvisoryLock
from doctrain_coordinator.store.tenant_rows import ROLE, check_role
from doctrain_mesh import postgres
from doctrain_mesh.errors import ConfigurationError

VERSION = 1
_COMMENT = re.compile("--.*")
"""To the end of its line: no text in the schema holds two dashes."""


async def migrate(url: str) -> str:
    """Makes the schema, where there is none, under an advisory lock; says in a sentence what it did.

    Raises ConfigurationError for a schema that is not this program's, and where it cannot be made.
    """
    connection = await postgres.connect(url, starting=True)
    try:
        async with postgres.available("migrating", connection), connection.transaction():
            await connection.execute("select pg_advisory_xact_lock($1)", AdvisoryLock.MIGRATION)
            found = await known(connection)
            if found is None:
                await _make(connection)
                return f"The database was empty; it has schema version {VERSION} now."
            check(*found)
            await check_role(connection)
    except asyncpg.InsufficientPrivilegeError as error:
        raise ConfigurationError(
            f"Postgres does not let this user make the schema ({error}); give it a database of its own, "
            f"and run there, as a superuser, `create extension vector`, `create role {ROLE}` and `grant {ROLE}` to it."
        ) from error
    finally:
        await postgres.close_connection(connection)
    return f"The database has schema version {VERSION} already."


async def _make(connection: postgres.Connection) -> None:
    try:
        await connection.execute(_schema())
    except (asyncpg.FeatureNotSupportedError, asyncpg.UndefinedFileError) as error:
        raise ConfigurationError("The Postgres server has no pgvector; install it there.") from error
    await connection.execute("insert into schema_version values ($1, $2)", VERSION, fingerprint(_schema()))


async def known(connection: postgres.Connection) -> tuple[int, str | None] | None:
    """The version of the schema and what made it; None when there is none."""
    if not await connection.fetchval("select to_regclass('schema_version') is not null"):
        return None
    row = await connection.fetchrow("select version, to_jsonb(schema_version) ->> 'made_by' as made_by from schema_version")
    return None if row is None else (row["version"], row["made_by"])


def check(version: int, made_by: str | None) -> None:
    """Raises ConfigurationError when this program cannot work on such a schema."""
    if version > VERSION:
        raise ConfigurationError(f"The database has schema version {version}; this program knows {VERSION}. Run the newer program.")
    if made_by != fingerprint(_schema()):
        raise ConfigurationError(
            "The database was made by another pre-release build of doctrain, whose tables differ and are not carried over; give this one "
            "an empty database, in which keys, tenants and trainings are made anew (`doctrain dev`: another folder)."
        )


def fingerprint(schema: str) -> str:
    """Tells one pre-release schema from another; comments and how lines are broken make no difference."""
    statements = " ".join(_COMMENT.sub("", schema).split())
    return hashlib.sha256(statements.encode()).hexdigest()[:16]


def _schema() -> str:
    return "".join(
        resources.files(__package__).joinpath(name).read_text(encoding="utf-8") for name in ("schema.sql", "views.sql", "policies.sql")
    )
