"""What asyncpg raises when Postgres is killed, frozen or full: an outside observer asks again."""

from __future__ import annotations

import asyncpg

AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
