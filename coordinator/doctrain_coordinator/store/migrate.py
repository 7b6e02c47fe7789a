"""Brings a database to this version's schema; safe to run from every coordinator at once.

Before the first release the schema is one file and has version 1. From then on, ``migrations/NNNN_*.sql`` carry an older
database forward and a test proves that they end in the same schema.
"""

from __future__ import annotations

import re
from importlib import resources

from doctrain_mesh import postgres
from doctrain_mesh.errors import ConfigurationError

VERSION = 1
_LOCK = 0x646F63747261696E


async def migrate(url: str) -> None:
    """Creates or upgrades the schema under an advisory lock; raises ConfigurationError for a newer one than this program's."""
    connection = await postgres.connect(url)
    try:
        async with postgres.available("migrating"), connection.transaction():
            await connection.execute("select pg_advisory_xact_lock($1)", _LOCK)
            await connection.execute("create table if not exists schema_version (version int not null)")
            version = await connection.fetchval("select version from schema_version")
            if version is None:
                await connection.execute(_read("schema.sql"))
                await connection.execute("insert into schema_version values ($1)", VERSION)
                return
            if version > VERSION:
                raise ConfigurationError(f"The database has schema version {version}; this program knows {VERSION}. Run the newer program.")
            for number, text in _migrations():
                if number > version:
                    await connection.execute(text)
                    await connection.execute("update schema_version set version = $1", number)
    finally:
        await postgres.close_connection(connection)


def _read(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _migrations() -> list[tuple[int, str]]:
    folder = resources.files(__package__).joinpath("migrations")
    if not folder.is_dir():
        return []
    found = [(re.match(r"(\d{4})_\w+\.sql$", entry.name), entry) for entry in folder.iterdir()]
    return sorted((int(match[1]), entry.read_text(encoding="utf-8")) for match, entry in found if match)
