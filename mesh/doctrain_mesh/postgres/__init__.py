"""Postgres: its connections, by which callers know this folder; statements by name, rows as COPY takes them, the URL."""

from doctrain_mesh.postgres.connections import (
    Connection,
    DataError,
    LockTimeoutError,
    OwnConnection,
    Pool,
    Record,
    UniqueViolationError,
    acquired,
    available,
    close_connection,
    close_pool,
    connect,
    create_pool,
    ended_when_frozen,
    measured,
)

__all__ = [
    "Connection",
    "DataError",
    "LockTimeoutError",
    "OwnConnection",
    "Pool",
    "Record",
    "UniqueViolationError",
    "acquired",
    "available",
    "close_connection",
    "close_pool",
    "connect",
    "create_pool",
    "ended_when_frozen",
    "measured",
]
