"""What the doctor looks at in Postgres: the server, its settings, the schema, and the worker's key."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from doctrain_coordinator.store import migrate, tenant_rows
from doctrain_coordinator.tenants.identity import ROLE_NAMES, ROLE_WORKER
from doctrain_coordinator.tenants.keys import role_of
from doctrain_coordinator.tracking.workers import health_alarm, read_intake
from doctrain_mesh import postgres
from doctrain_mesh.errors import ConfigurationError, DoctrainError
from doctrain_mesh.postgres import sizes
from doctrain_mesh.settings import Settings
from doctrain_mesh.supervise import deadline
from doctrain_server.doctor.finding import Finding, Verdict, judged

ANSWER_SECONDS = 10.0
LONGEST_STATEMENT_MS = 120_000
OLDEST_POSTGRES = 140_000
OLDEST_PGVECTOR = (0, 8)
PGVECTOR = """
select extension.installed_version, extension.default_version, current_database() as database,
    current_setting('is_superuser')::bool or (version.trusted and has_database_privilege(current_database(), 'create')) as addable
from pg_available_extensions extension
join pg_available_extension_versions version on version.name = extension.name and version.version = extension.default_version
where extension.name = 'vector'
"""
ROLE = """
select current_user as name, coalesce(pg_has_role(to_regrole($1), 'member'), false) as acts,
    to_regrole($1) is null and rolcreaterole as makes
from pg_roles where rolname = current_user
"""


@dataclass(frozen=True, slots=True)
class Mesh:
    """Who shares the database: how many of each, at least one, and how many children of each kind a worker has."""

    coordinators: int
    workers: int
    children: int

    @property
    def connections(self) -> int:
        """What they may open, all together."""
        return sizes.needed(coordinators=self.coordinators, workers=self.workers, children=self.children)

    @property
    def described(self) -> str:
        """For a person."""
        of_each = (
            _counted(self.coordinators, "coordinator"),
            _counted(self.workers, "worker"),
            _counted(self.children, "child", "children"),
        )
        return "{} and {} of {} of each kind".format(*of_each)


async def examine_database(settings: Settings, mesh: Mesh) -> list[Finding]:
    """Every finding; one when it is not reached. ``mesh`` is who shares its connections."""
    try:
        connection = await postgres.connect(settings.database_url, starting=True)
    except DoctrainError as error:
        return [Finding("database", Verdict.BAD, error.sentence)]
    try:
        async with postgres.available("looking at Postgres", connection), deadline("Looking at Postgres", ANSWER_SECONDS):
            version = await connection.fetchval("show server_version")
            found = [Finding("database", Verdict.OK, f"PostgreSQL {version}.")]
            found.append(_vector(await connection.fetchrow(PGVECTOR)))
            found.append(_role(await connection.fetchrow(ROLE, tenant_rows.ROLE)))
            said = {row["name"]: row["setting"] for row in await connection.fetch("select name, setting from pg_settings")}
            found += judge(said, mesh, in_recovery=await connection.fetchval("select pg_is_in_recovery()"))
            schema = await _schema(connection)
            found.append(schema)
            if schema.verdict is Verdict.OK:
                found += await _workers(connection)
            if schema.verdict is Verdict.OK and settings.worker_key:
                found.append(_key(await role_of(connection, settings.worker_key)))
            return found
    except DoctrainError as error:
        return [Finding("database", Verdict.BAD, error.sentence)]
    finally:
        await postgres.close_connection(connection)


def _vector(known: postgres.Record | None) -> Finding:
    """What is installed in the database, or would be."""
    if known is None:
        return Finding("pgvector", Verdict.BAD, "Missing; install pgvector on the server.")
    version: str = known["installed_version"] or known["default_version"]
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_PGVECTOR:
        needed = "searches of large indexes need 0.8: update it, then `alter extension vector update`"
        return Finding("pgvector", Verdict.BAD, f"Is {version}; {needed}.")
    if known["installed_version"] is None and not known["addable"]:
        command = f"psql --dbname {shlex.quote(known['database'])} --command 'create extension vector'"
        return Finding("pgvector", Verdict.BAD, f"Is not in this database, and its user may not add it; run as a superuser: {command}.")
    return Finding("pgvector", Verdict.OK, f"Is {version}.")


def _role(user: postgres.Record | None) -> Finding:
    """Whether tenants' rows can be read as the role that sees them alone, or the role be made with the schema."""
    assert user is not None
    if user["acts"] or user["makes"]:
        return Finding("rows of tenants", Verdict.OK, f"Are read as {tenant_rows.ROLE}.")
    command = f"psql --command {shlex.quote(f'create role {tenant_rows.ROLE}')} --command {shlex.quote(tenant_rows.grant(user['name']))}"
    how = f"run as a superuser, without the first command where the role is there: {command}"
    return Finding("rows of tenants", Verdict.BAD, f"This user may not read them as {tenant_rows.ROLE}; {how}.")


async def _schema(connection: postgres.Connection) -> Finding:
    known = await migrate.known(connection)
    if known is None:
        return Finding("schema", Verdict.BAD, "No tables yet; `doctrain-server migrate` makes them, or the first coordinator that starts.")
    try:
        migrate.check(*known)
    except ConfigurationError as error:
        return Finding("schema", Verdict.BAD, error.sentence)
    return Finding("schema", Verdict.OK, f"Version {known[0]}, as this program's.")


async def _workers(connection: postgres.Connection) -> list[Finding]:
    """Those that are connected, where something is the matter with them."""
    found = []
    if kept_out := (await read_intake(connection)).kept_out:
        what = f"{kept_out} `doctrain workers` says why of each; `doctrain workers uncordon NAME` undoes an order, or start others."
        found.append(Finding("workers", Verdict.BAD, what))
    if alarm := await health_alarm(connection):
        found.append(Finding("workers", Verdict.BAD, f"{alarm} Start others, or mend them."))
    return found


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _key(role: int | None) -> Finding:
    if role is None:
        return Finding(
            "worker key", Verdict.BAD, "Is in no table of keys, or revoked; an operator makes one: doctrain keys create --role worker."
        )
    if role != ROLE_WORKER:
        return Finding("worker key", Verdict.BAD, f"Is a key of role {ROLE_NAMES[role]}; a worker needs one of role worker.")
    return Finding("worker key", Verdict.OK, "Is known, of role worker.")


def judge(said: Mapping[str, str], mesh: Mesh, *, in_recovery: bool) -> list[Finding]:
    """What Postgres's settings mean for what is recorded, and for who shares it; ``said`` is ``pg_settings`` by name."""
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
            int(said["max_connections"]) >= mesh.connections,
            f"{mesh.described} may open up to {mesh.connections}; docs/howto/run-a-mesh.md says how they are counted.",
        ),
        *(
            (name, not 0 < int(said.get(name, "0")) < LONGEST_STATEMENT_MS, "Loading a large training takes longer.")
            for name in ("statement_timeout", "transaction_timeout", "lock_timeout")
        ),
    )
    return [judged(name, good, f"Is {said.get(name, 'not known here')}.{'' if good else f' {danger}'}") for name, good, danger in rules]
