"""Postgres: pools and connections whose every wait has a limit. Only here and in the coordinator's store is asyncpg seen.

``pool.acquire()`` waits without limit and ``command_timeout`` was seen to return late on a frozen server, so both are
given explicitly and ``available`` turns what a lost or overdue server raises into StoreUnavailableError. Who waited in vain for others to
give a connection back hears StoreBusyError: the server is there.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, TypeAlias

import asyncpg
from asyncpg.exceptions._base import DataError as UnencodableError  # asyncpg.DataError is the server's
from asyncpg.pool import PoolConnectionProxy

from doctrain_mesh.errors import ConfigurationError, OperationTimeoutError, StoreBusyError, StoreUnavailableError
from doctrain_mesh.observability.metrics import POOL_CONNECTIONS, Reading
from doctrain_mesh.observability.outage import Outage, cause
from doctrain_mesh.postgres import database_url
from doctrain_mesh.supervise import cancellation_first, deadline, guard_cancellation, to_the_end

Record: TypeAlias = asyncpg.Record
OwnConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connections: TypeAlias = Callable[[], AbstractAsyncContextManager["Connection | OwnConnection"]]
"""Lends a connection for a few statements, between which it is another one or is not held."""

UniqueViolationError = asyncpg.UniqueViolationError
# A lock was not had within the transaction's ``lock_timeout``.
LockTimeoutError = asyncpg.LockNotAvailableError
# Classes 22 and 23, and what the driver itself finds too large for its column: what was sent cannot be stored, now or later.
DataError = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, UnencodableError)

CONNECT_SECONDS = 5.0
COMMAND_SECONDS = 30.0
ACQUIRE_SECONDS = 10.0
CLOSE_SECONDS = 2.0
"""So long the end of a connection, or of a statement that is not waited for, is waited for; then the connection is dropped."""
FROZEN_SECONDS = 5.0
"""A process that freezes within a transaction keeps its rows locked for that long."""
_KEEPALIVE = {"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}
"""Ends what a machine that is cut off has open after half a minute; no other timeout ends a COPY whose client is silent."""

# What a server that is away, restarting, full, in recovery or on a failing disk makes asyncpg raise.
_AWAY = (
    asyncpg.PostgresConnectionError,
    # A server that ends the session between two steps of a statement leaves asyncpg's own state torn: the connection is lost.
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    asyncpg.InvalidTransactionStateError,
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidAuthorizationSpecificationError,  # a new connection of a pool, when somebody changed the password
    asyncpg.InvalidCatalogNameError,
    ConnectionError,
    TimeoutError,
    OSError,
)

# What ends one session alone, whose client said nothing for too long or left a statement halfway: no sign that the server is away.
# If it is, whoever connects next hears so.
_OUR_OWN_DOING = (
    asyncpg.InternalClientError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionTimeoutError,
    asyncpg.IdleSessionTimeoutError,
)

OUTAGE = Outage("Postgres")
log = logging.getLogger(__name__)


@asynccontextmanager
async def available(operation: str, connection: Connection | None = None) -> AsyncIterator[None]:
    """Names the operation in the StoreUnavailableError that replaces a lost or overdue server's many errors.

    ``connection`` is the one of the caller's own that is used within: once it is closed, whatever it refuses is the server's absence. What
    an open one refuses (two operations at once, say) is a mistake of this program, which no repetition mends, and passes.

    A cancelled task rolls its transaction back first, or closes a connection that it was refused; an error of that, or the one before it,
    takes the cancellation's place, and who catches StoreUnavailableError would work on. So it is cancelled here once more.
    """
    try:
        async with cancellation_first(), guard_cancellation(operation):
            with _lost_once(lambda: connection is not None and _is_closed(connection)):
                yield
    except (*_AWAY, OperationTimeoutError) as error:
        if isinstance(error, asyncpg.TransactionRollbackError):
            log.warning("Postgres undid a transaction that waited in a circle with another (%s): %s", operation, cause(error))
        elif isinstance(error, _OUR_OWN_DOING):
            log.info("A connection to Postgres was lost while this process stood still or gave up (%s): %s", operation, cause(error))
        else:
            OUTAGE.away(f"{operation}: {cause(error)}")
        raise StoreUnavailableError(
            f"Postgres did not answer ({operation}). The call may be made again.", retry_after_seconds=1.0
        ) from error
    else:
        OUTAGE.back()


@asynccontextmanager
async def used(connection: OwnConnection, operation: str) -> AsyncIterator[OwnConnection]:
    """A connection of the caller's own for a few statements, as ``acquired`` lends one of a pool."""
    async with available(operation, connection):
        yield connection


@contextmanager
def _lost_once(closed: Callable[[], bool]) -> Iterator[None]:
    """Tells asyncpg's refusal to work on what is closed from its refusal of a mistake, which is of the same class.

    A refusal while a statement that was lost or overdue is cleaned up after, as by its rollback, is a consequence of that one.
    """
    try:
        yield
    except asyncpg.InterfaceError as error:
        if not closed() and not isinstance(error.__context__, (*_AWAY, asyncio.CancelledError)):
            raise
        raise asyncpg.ConnectionDoesNotExistError(str(error)) from error


def _is_closed(connection: Connection) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # a pool takes a lost connection back under whoever uses it
        return True


@asynccontextmanager
async def _reaching(url: str, *, starting: bool) -> AsyncIterator[None]:
    """Says which server and why when it is not reached; for operators, as tenants need not know where it is.

    Raises ConfigurationError for what is no URL of a database.
    """
    database_url.check(url)
    try:
        async with cancellation_first(), guard_cancellation("connecting to Postgres"):
            yield
    except (*_AWAY, OperationTimeoutError) as error:
        sentence = _refusal(url, error)
        if not starting:
            OUTAGE.away(sentence)
        raise StoreUnavailableError(sentence, retry_after_seconds=1.0) from error
    except (asyncpg.exceptions.ClientConfigurationError, ValueError) as error:  # after a certificate that is not trusted, a ValueError too
        raise ConfigurationError(f"{database_url.VARIABLE} is not understood; write it as {database_url.SHAPE}.") from error
    else:
        OUTAGE.back()


def _refusal(url: str, error: Exception) -> str:
    server, (user, database) = database_url.server(url), database_url.names(url)
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return f"The Postgres at {server} has no database {database!r}; create it, or name another in {database_url.VARIABLE}."
    if isinstance(error, asyncpg.InvalidPasswordError):
        return f"The Postgres at {server} does not accept the password of {user!r}; correct it in {database_url.VARIABLE}."
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        return f"The Postgres at {server} does not let {user!r} in ({cause(error)}); correct the user in {database_url.VARIABLE}."
    if isinstance(error, ssl.SSLError):
        settings = "sslmode, sslrootcert, sslcert and sslkey"
        return f"The Postgres at {server} is not reached with TLS: {cause(error)}; see to {settings} in {database_url.VARIABLE}."
    if isinstance(error, OSError) and (file := database_url.unreadable_file(url)):
        return f"{database_url.VARIABLE} names a file that cannot be read: {file}."
    return f"The Postgres at {server} did not answer: {cause(error)}."


async def connect(
    url: str, *, settings: Mapping[str, str] | None = None, command_seconds: float = COMMAND_SECONDS, starting: bool = False
) -> OwnConnection:
    """One connection of its own, for a listener, a leader or a committer. ``starting``: the caller tells a person when it fails."""
    server_settings = {**_KEEPALIVE, **(settings or {})}
    async with _reaching(url, starting=starting):
        return await asyncpg.connect(url, timeout=CONNECT_SECONDS, command_timeout=command_seconds, server_settings=server_settings)


def ended_when_frozen(seconds: float = FROZEN_SECONDS) -> dict[str, str]:
    """The setting of a connection by which Postgres rolls a transaction back whose client says nothing for so long."""
    return {"idle_in_transaction_session_timeout": f"{seconds * 1000:.0f}ms"}


async def _leave_as_is(_connection: object) -> None:
    """Nothing that uses the pool changes its session, so nothing is reset: a round trip less each time."""


async def create_pool(
    url: str,
    *,
    size: int,
    name: str,
    frozen_seconds: float = FROZEN_SECONDS,
    settings: Mapping[str, str] | None = None,
    opened: Callable[[Connection], Coroutine[Any, Any, None]] | None = None,
) -> Pool:
    """A pool of at most ``size`` connections; opens one at once, so that a wrong URL is told at start, and the others for who needs them.

    A process that freezes within a transaction keeps its locks for ``frozen_seconds``. ``opened`` is called with each new connection.
    """
    async with _reaching(url, starting=True):
        pool = await asyncpg.create_pool(
            url,
            min_size=0,
            max_size=size,
            timeout=CONNECT_SECONDS,
            command_timeout=COMMAND_SECONDS,
            reset=_leave_as_is,
            init=opened,
            server_settings={"application_name": name, **_KEEPALIVE, **ended_when_frozen(frozen_seconds), **(settings or {})},
        )
        try:
            await pool.release(await pool.acquire(timeout=CONNECT_SECONDS))
        except BaseException:
            pool.terminate()
            raise
    return pool


@asynccontextmanager
async def acquired(pool: Pool, operation: str, *, seconds: float = COMMAND_SECONDS) -> AsyncIterator[Connection]:
    """A connection of the pool for one operation, which has ``seconds`` in all. Raises StoreBusyError when all were in use for too long."""
    had = False
    async with available(operation):
        try:
            async with deadline(operation[0].upper() + operation[1:], seconds), _acquire(pool) as connection:
                had = True
                yield connection
        except (TimeoutError, OperationTimeoutError) as error:
            if had or not _all_in_use(pool):
                raise
            raise StoreBusyError(
                f"All connections to Postgres that there are for this were in use ({operation}). The call may be made again.",
                retry_after_seconds=1.0,
            ) from error


@asynccontextmanager
async def _acquire(pool: Pool) -> AsyncIterator[Connection]:
    with _lost_once(pool.is_closing):
        connection = await pool.acquire(timeout=ACQUIRE_SECONDS)
        try:
            with _lost_once(lambda: _is_closed(connection)):
                yield connection
        finally:
            await to_the_end(pool.release(connection, timeout=CLOSE_SECONDS))


def _all_in_use(pool: Pool) -> bool:
    """Whether as many are open as may be, none of them idle: whoever got none did not wait for the server to let it in."""
    return pool.get_size() == pool.get_max_size() and not pool.get_idle_size()


@contextmanager
def measured(pool: Pool, name: str) -> Iterator[None]:
    """Metrics tell of the pool under that name, while open."""

    def reading() -> list[Reading]:
        idle = pool.get_idle_size()
        return [(pool.get_size() - idle, (name, "used")), (idle, (name, "idle"))]

    with POOL_CONNECTIONS.reading(reading):
        yield


async def close_pool(pool: Pool) -> None:
    """Closes within ``CLOSE_SECONDS``, or drops the connections."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await pool.close()
    except TimeoutError:
        pool.terminate()


async def close_connection(connection: OwnConnection) -> None:
    """Closes within ``CLOSE_SECONDS``, or drops the connection."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await connection.close()
    except (*_AWAY, asyncpg.InterfaceError):
        connection.terminate()
