"""The servers of one etcd: TLS, one endpoint after the other, and their errors as sentences."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc
from aetcd import rpc

from doctrain_mesh.errors import ConfigurationError, OperationTimeoutError, RegistryUnavailableError
from doctrain_mesh.observability.outage import Outage
from doctrain_mesh.supervise import cancellation_first, guard_cancellation

T = TypeVar("T")

CALL_SECONDS = 2.0  # per endpoint
RETRY_SECONDS = 1.0
DEFAULT_PORT = 2379
OUTAGE = Outage("etcd", meanwhile="Work goes on; who is there and how busy is not shown, and new workers need DOCTRAIN_COORDINATORS.")
NOT_OPEN = "The connection to etcd is not open in this process."

_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", 64 * 2**20),
    # A server that is back is found within a second or two, not after gRPC's two minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # A connection that died without a word is given up, where the kernel would send on for a quarter of an hour. etcd closes connections
    # that ask more often than every 5 s, or while there is no call.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
)


class LeaseLostError(Exception):
    """etcd knows the lease no more."""


@dataclass(frozen=True, slots=True, eq=False)
class Stubs:
    """One endpoint."""

    address: str
    channel: Any
    kv: Any
    lease: Any
    watch: Any


class Servers:
    """The servers that a URL names. Whoever calls one begins with the one that answered last, whichever half of grpc it uses."""

    def __init__(self, url: str, ca_file: str | None, own: tuple[str, str] | None) -> None:
        self._addresses, secure = _parse(url)
        self._credentials = _credentials(ca_file, own) if secure else None
        self.index = 0

    def connect(self, half: Any) -> list[Stubs]:
        """An endpoint each, of ``grpc`` for threads or ``grpc.aio`` for the running loop."""
        return [self._connect(address, half) for address in self._addresses]

    def _connect(self, address: str, half: Any) -> Stubs:
        if self._credentials is None:
            channel = half.insecure_channel(address, options=_CHANNEL_OPTIONS)
        else:
            channel = half.secure_channel(address, self._credentials, options=_CHANNEL_OPTIONS)
        return Stubs(address, channel, rpc.KVStub(channel), rpc.LeaseStub(channel), rpc.WatchStub(channel))

    def blame(self, index: int, stubs: Stubs, operation: str, error: Exception) -> RegistryUnavailableError:
        """What a call to that endpoint ended with, in a sentence; the next one is asked from now on, unless somebody moved on already.

        Raises LeaseLostError for what is no fault of the server's.
        """
        status = error.code() if isinstance(error, grpc.RpcError) else None
        if status is grpc.StatusCode.NOT_FOUND:
            raise LeaseLostError from error
        if self.index == index:
            self.index = (index + 1) % len(self._addresses)
        reason = str(error) if status is None else f"{status.name}: {error.details()}"  # type: ignore[attr-defined]
        return RegistryUnavailableError(
            f"etcd at {stubs.address} did not answer ({operation}): {reason}", retry_after_seconds=RETRY_SECONDS
        )


class Endpoints:
    """The endpoints of one event loop: sends each call to the endpoint that answered last, and moves on to the next when it does not."""

    def __init__(self, all_stubs: list[Stubs], servers: Servers) -> None:
        self._all, self._servers = all_stubs, servers

    @property
    def current(self) -> Stubs:
        return self._all[self._servers.index]

    async def call(self, operation: str, invoke: Callable[[Stubs], Awaitable[T]]) -> T:
        """Tries every endpoint once; each try is bounded by its own CALL_SECONDS."""
        for remaining in reversed(range(len(self._all))):
            stubs = self.current
            try:
                async with self.blaming(stubs, operation):
                    answer = await invoke(stubs)
            except RegistryUnavailableError as error:
                if not remaining:
                    OUTAGE.away(error.sentence)
                    raise
            else:
                OUTAGE.back()
                return answer
        raise RegistryUnavailableError(NOT_OPEN)

    @asynccontextmanager
    async def blaming(self, stubs: Stubs, operation: str) -> AsyncIterator[None]:
        """Translates errors, and moves on from this endpoint unless somebody else did already."""
        try:
            async with cancellation_first(), guard_cancellation(operation):
                yield
        except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError, OperationTimeoutError) as error:
            raise self._servers.blame(self._all.index(stubs), stubs, operation, error) from error

    async def close(self) -> None:
        await asyncio.gather(*(stubs.channel.close() for stubs in self._all))


def _parse(url: str) -> tuple[list[str], bool]:
    scheme, separator, rest = url.partition("://")
    addresses = rest.rstrip("/").split(",")
    if scheme not in {"etcd", "etcds"} or not separator or "@" in rest or not all(addresses):
        raise ConfigurationError("The registry's URL must read etcd://host:port[,host:port], or etcds:// for TLS; it takes no password.")
    return [address if ":" in address else f"{address}:{DEFAULT_PORT}" for address in addresses], scheme == "etcds"


def _credentials(ca_file: str | None, own: tuple[str, str] | None) -> grpc.ChannelCredentials:
    """Without certificates to trust gRPC brings a list of its own."""
    trusted = ca_file or ssl.get_default_verify_paths().cafile
    chain, key = own or (None, None)
    return grpc.ssl_channel_credentials(*(_content(file) for file in (trusted, key, chain)))


def _content(file: str | None) -> bytes | None:
    try:
        return Path(file).read_bytes() if file else None
    except OSError as error:
        raise ConfigurationError(f"The certificates in {file} cannot be read: {error.strerror}.") from error
