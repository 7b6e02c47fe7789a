"""etcd behind the registry's port.

aetcd brings the stubs; what it lacks is here: TLS, several endpoints, a limit for every call, leases that are kept and
granted anew when they lapsed (a refresh of a dead one answers "0 s left" without an error), watches that begin with a list
and list again after every gap and at least every 30 s, because a server behind a black hole ends no stream.

etcd says who is probably there. Losing it costs sight and no work: registering waits a short while and then goes on in
the background, updating never waits, and a watch is quiet until the server is back.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import grpc
from aetcd import rpc

from doctrain_mesh.errors import ConfigurationError, OperationTimeoutError, RegistryUnavailableError
from doctrain_mesh.observability.outage import Outage
from doctrain_mesh.ports import Change, Registration
from doctrain_mesh.supervise import forever, guard_cancellation

log = logging.getLogger(__name__)
T = TypeVar("T")

CALL_SECONDS = 2.0  # per endpoint
REGISTER_SECONDS = 3.0
RELIST_SECONDS = 30.0
RETRY_SECONDS = 1.0
REFRESHES_PER_LEASE = 3
OUTAGE = Outage("etcd", meanwhile="Work goes on; who is there and how busy is not shown, and new workers need DOCTRAIN_COORDINATORS.")

DEFAULT_PORT = 2379
MOST_KEYS = 10_000
"""Of one prefix, the first ones; those behind are not seen."""
MOST_VALUE_BYTES = 16_384
"""A key with a larger value is as one that is not there; doctrain writes none."""
MOST_TOLD = 1_000

_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", 64 * 2**20),
    # A server that is back is found within a second or two, not after gRPC's two minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 2000),
)


class EtcdRegistry:
    """Keys under leases in etcd. An async context: its background tasks live as long as it is open.

    Args:
        url: ``etcd://host:port[,host:port]``, with TLS ``etcds://``. One endpoint is used until it fails, then the next.
        ca_file: PEM file of the CA that signed the servers' certificates; None: those the system trusts.
    """

    def __init__(self, url: str, *, ca_file: str | None = None) -> None:
        self._addresses, secure = _parse(url)
        self._credentials = grpc.ssl_channel_credentials(_trusted(ca_file)) if secure else None
        self._endpoints = _Endpoints([])
        self._tasks = asyncio.TaskGroup()
        self._registrations: set[_EtcdRegistration] = set()
        self._open = False
        self._told: set[str] = set()

    async def __aenter__(self) -> EtcdRegistry:
        self._endpoints = _Endpoints([_connect(address, self._credentials) for address in self._addresses])
        await self._tasks.__aenter__()
        self._open = True
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()
        # The body's own error goes on as it is; a cancellation may be the task group's, which then tells what ended it.
        cancelled = isinstance(error, asyncio.CancelledError)
        await self._tasks.__aexit__(*((kind, error, trace) if cancelled else (None, None, None)))

    async def register(self, key: str, value: bytes, ttl_seconds: int) -> Registration:
        self._check_open()
        registration = _EtcdRegistration(self._endpoints, key, value, ttl_seconds)
        registration.task = self._tasks.create_task(registration.keep(), name=f"keep {key} in etcd")
        registration.task.add_done_callback(lambda _: self._registrations.discard(registration))
        self._registrations.add(registration)
        try:
            async with asyncio.timeout(REGISTER_SECONDS):
                await registration.present.wait()
        except TimeoutError:
            log.warning("etcd did not take %s within %g s; it is put there when etcd answers.", key, REGISTER_SECONDS)
        return registration

    async def list(self, prefix: str) -> dict[str, bytes]:
        self._check_open()
        return (await self._snapshot(prefix))[0]

    async def watch(self, prefix: str) -> AsyncGenerator[Change, None]:
        known: dict[str, bytes] = {}
        while True:
            try:
                self._check_open()
                present, revision = await self._snapshot(prefix)
                for change in differences(known, present):
                    yield change
                known = present
                async with aclosing(self._events(prefix, revision + 1)) as events:
                    async for change in events:
                        if known.get(change.key) == change.value:
                            continue
                        if change.value is None:
                            del known[change.key]
                        elif change.key not in known and len(known) >= MOST_KEYS:
                            continue
                        else:
                            known[change.key] = change.value
                        yield change
            except RegistryUnavailableError as error:
                if not self._open:
                    raise
                log.warning("Watching %s in etcd is interrupted, and listed anew in %g s: %s", prefix, RETRY_SECONDS, error)
                await asyncio.sleep(RETRY_SECONDS)

    async def close(self) -> None:
        """Removes all keys of this registry and ends its connections."""
        if self._open:
            self._open = False
            await asyncio.gather(*(registration.close() for registration in self._registrations))
            await self._endpoints.close()

    def _check_open(self) -> None:
        if not self._open:
            raise RegistryUnavailableError("The connection to etcd is not open in this process.")

    async def _snapshot(self, prefix: str) -> tuple[dict[str, bytes], int]:
        """The keys, and the revision of the store at which they were so."""
        start, end = _range(prefix)
        answer = await self._endpoints.call(
            f"listing {prefix}",
            lambda stubs: stubs.kv.Range(rpc.RangeRequest(key=start, range_end=end, limit=MOST_KEYS), timeout=CALL_SECONDS),
        )
        changes = [self._change(pair.key, pair.value) for pair in answer.kvs]
        return {change.key: change.value for change in changes if change.value is not None}, answer.header.revision

    def _change(self, key: bytes, value: bytes | None) -> Change:
        """As a watcher is told of it: any bytes may be a key, and what is too large for a record of ours is not there."""
        name = key.decode(errors="backslashreplace")
        if value is not None and len(value) > MOST_VALUE_BYTES:
            if name not in self._told and len(self._told) < MOST_TOLD:
                self._told.add(name)
                log.warning("etcd's key %.200r is passed over: %d bytes are no record of doctrain's.", name, len(value))
            value = None
        return Change(name, value)

    async def _events(self, prefix: str, revision: int) -> AsyncGenerator[Change, None]:
        """Changes from that revision on; ends when it is time to list again.

        That is so after a while, and when etcd forgot the revision or has not come to it: wiped, it would wait for it silently.
        """
        start, end = _range(prefix)
        operation = f"watching {prefix}"
        until = time.monotonic() + RELIST_SECONDS
        stubs = self._endpoints.current
        call = stubs.watch.Watch()
        try:
            request = rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=start, range_end=end, start_revision=revision))
            async with self._endpoints.blaming(stubs, operation):
                await call.write(request)
            while True:
                # Never a yield within: a timeout around one would interrupt the watcher instead.
                async with self._endpoints.blaming(stubs, operation):
                    try:
                        async with asyncio.timeout(until - time.monotonic()):
                            answer = await call.read()
                    except TimeoutError:
                        return
                if answer is grpc.aio.EOF or answer.canceled or answer.header.revision < revision - 1:
                    return
                for event in answer.events:
                    yield self._change(event.kv.key, None if event.type == event.DELETE else event.kv.value)
        finally:
            call.cancel()


class _EtcdRegistration:
    """A key, its lease, and the task that keeps both."""

    task: asyncio.Task[None]

    def __init__(self, endpoints: _Endpoints, key: str, value: bytes, ttl_seconds: int) -> None:
        self.present = asyncio.Event()
        self._endpoints = endpoints
        self._key = key
        self._value = value
        self._ttl_seconds = ttl_seconds
        self._changed = asyncio.Event()
        self._lease = 0

    async def update(self, value: bytes) -> None:
        """Returns at once; values that follow each other faster than etcd takes them are conflated."""
        self._value = value
        self._changed.set()

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        lease, self._lease = self._lease, 0
        if not lease:
            return
        try:
            await self._endpoints.call(
                f"removing {self._key}", lambda stubs: stubs.lease.LeaseRevoke(rpc.LeaseRevokeRequest(ID=lease), timeout=CALL_SECONDS)
            )
        except (RegistryUnavailableError, _LeaseLostError) as error:
            log.info("%s was not removed from etcd; its lease of %d s ends by itself: %s", self._key, self._ttl_seconds, error)

    async def keep(self) -> None:
        """Until cancelled."""
        name = f"Keeping {self._key} in etcd"
        await forever(name, self._keep_leased, retry_seconds=RETRY_SECONDS, expected=RegistryUnavailableError)

    async def _keep_leased(self) -> None:
        """One lease: granted if there is none, the key put under it, refreshed until it is lost."""
        try:
            if not self._lease:
                self._lease = await self._grant()
                self._changed.set()
            while True:
                if self._changed.is_set():
                    await self._put()
                    self.present.set()
                try:
                    async with asyncio.timeout(self._ttl_seconds / REFRESHES_PER_LEASE):
                        await self._changed.wait()
                except TimeoutError:
                    await self._endpoints.call(f"refreshing {self._key}", self._refresh)
        except _LeaseLostError:
            log.warning("etcd let the lease of %s lapse; it is registered anew.", self._key)
            self._lease = 0

    async def _grant(self) -> int:
        answer = await self._endpoints.call(
            f"registering {self._key}",
            lambda stubs: stubs.lease.LeaseGrant(rpc.LeaseGrantRequest(TTL=self._ttl_seconds), timeout=CALL_SECONDS),
        )
        return int(answer.ID)

    async def _put(self) -> None:
        self._changed.clear()
        request = rpc.PutRequest(key=self._key.encode(), value=self._value, lease=self._lease)
        try:
            await self._endpoints.call(f"writing {self._key}", lambda stubs: stubs.kv.Put(request, timeout=CALL_SECONDS))
        except BaseException:
            self._changed.set()
            raise

    async def _refresh(self, stubs: _Stubs) -> None:
        call = stubs.lease.LeaseKeepAlive(timeout=CALL_SECONDS)
        try:
            await call.write(rpc.LeaseKeepAliveRequest(ID=self._lease))
            answer = await call.read()
        finally:
            call.cancel()
        if answer is grpc.aio.EOF:
            raise OperationTimeoutError("etcd closed the stream of lease refreshes.")
        if answer.TTL <= 0:
            raise _LeaseLostError


class _LeaseLostError(Exception):
    """etcd knows the lease no more."""


@dataclass(frozen=True, slots=True, eq=False)
class _Stubs:
    """One endpoint."""

    address: str
    channel: grpc.aio.Channel
    kv: Any
    lease: Any
    watch: Any


class _Endpoints:
    """Sends each call to the endpoint that answered last, and moves on to the next when it does not."""

    def __init__(self, all_stubs: list[_Stubs]) -> None:
        self._all = all_stubs
        self._index = 0

    @property
    def current(self) -> _Stubs:
        return self._all[self._index]

    async def call(self, operation: str, invoke: Callable[[_Stubs], Awaitable[T]]) -> T:
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
        raise RegistryUnavailableError("The connection to etcd is not open in this process.")

    @asynccontextmanager
    async def blaming(self, stubs: _Stubs, operation: str) -> AsyncIterator[None]:
        """Translates errors, and moves on from this endpoint unless somebody else did already."""
        try:
            async with guard_cancellation(operation):
                yield
        except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError, OperationTimeoutError) as error:
            if isinstance(error, grpc.aio.AioRpcError) and error.code() is grpc.StatusCode.NOT_FOUND:
                raise _LeaseLostError from error
            if self._all[self._index] is stubs:
                self._index = (self._index + 1) % len(self._all)
            reason = f"{error.code().name}: {error.details()}" if isinstance(error, grpc.aio.AioRpcError) else str(error)
            raise RegistryUnavailableError(
                f"etcd at {stubs.address} did not answer ({operation}): {reason}", retry_after_seconds=RETRY_SECONDS
            ) from error

    async def close(self) -> None:
        await asyncio.gather(*(stubs.channel.close() for stubs in self._all))


def differences(known: Mapping[str, bytes], present: Mapping[str, bytes]) -> list[Change]:
    """What turns ``known`` into ``present``: first what is new or changed, then what is gone."""
    changed = [Change(key, value) for key, value in present.items() if known.get(key) != value]
    return changed + [Change(key, None) for key in known if key not in present]


def _connect(address: str, credentials: grpc.ChannelCredentials | None) -> _Stubs:
    if credentials is None:
        channel = grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS)
    else:
        channel = grpc.aio.secure_channel(address, credentials, options=_CHANNEL_OPTIONS)
    return _Stubs(address, channel, rpc.KVStub(channel), rpc.LeaseStub(channel), rpc.WatchStub(channel))


def _parse(url: str) -> tuple[list[str], bool]:
    scheme, separator, rest = url.partition("://")
    addresses = rest.rstrip("/").split(",")
    if scheme not in {"etcd", "etcds"} or not separator or "@" in rest or not all(addresses):
        raise ConfigurationError("The registry's URL must read etcd://host:port[,host:port], or etcds:// for TLS; it takes no password.")
    return [address if ":" in address else f"{address}:{DEFAULT_PORT}" for address in addresses], scheme == "etcds"


def _trusted(ca_file: str | None) -> bytes | None:
    """PEM certificates; None leaves the choice to gRPC, which brings a list of its own."""
    file = ca_file or ssl.get_default_verify_paths().cafile
    try:
        return Path(file).read_bytes() if file else None
    except OSError as error:
        raise ConfigurationError(f"The certificates in {file} cannot be read: {error.strerror}.") from error


def _range(prefix: str) -> tuple[bytes, bytes]:
    """The first key of the prefix and the first behind it; a zero byte for both means all keys."""
    if not prefix:
        return b"\0", b"\0"
    start = prefix.encode()
    return start, start[:-1] + bytes([start[-1] + 1])  # UTF-8 has no byte 255
