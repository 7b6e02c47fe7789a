"""etcd behind the registry's port.

aetcd brings the stubs; what it lacks is here and in ``etcd_endpoints`` (TLS, several endpoints, a limit for every call) and
``etcd_keys`` (leases that are kept): watches begin with a list and list again after every gap and at least every 30 s, because a
server behind a black hole ends no stream.

etcd says who is probably there. Losing it costs sight and no work: registering waits a short while and then goes on in
the background, updating never waits, and a watch is quiet until the server is back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from types import TracebackType

import grpc
from aetcd import rpc

from doctrain_mesh.errors import RegistryUnavailableError
from doctrain_mesh.ports import Change, Registration
from doctrain_mesh.registry.etcd_endpoints import CALL_SECONDS, RETRY_SECONDS, Endpoints, Servers
from doctrain_mesh.registry.etcd_keys import LeasedKey
from doctrain_mesh.supervise import deadline

log = logging.getLogger(__name__)

REGISTER_SECONDS = 3.0
RELIST_SECONDS = 30.0

MOST_KEYS = 10_000
"""Of one prefix, the first ones; those behind are not seen."""
MOST_VALUE_BYTES = 16_384
"""A key with a larger value is as one that is not there; doctrain writes none."""
MOST_TOLD = 1_000


class EtcdRegistry:
    """Keys under leases in etcd. An async context: its background tasks live as long as it is open.

    Args:
        url: ``etcd://host:port[,host:port]``, with TLS ``etcds://``. One endpoint is used until it fails, then the next.
        ca_file: PEM file of the CA that signed the servers' certificates; None: those the system trusts.
        own: PEM files of the certificate chain that the servers are shown and of its key, for those that ask; None: none.
    """

    def __init__(self, url: str, *, ca_file: str | None = None, own: tuple[str, str] | None = None) -> None:
        self._servers = Servers(url, ca_file, own)
        self._endpoints = Endpoints([], self._servers)
        self._tasks = asyncio.TaskGroup()
        self._keys: set[LeasedKey] = set()
        self._open = False
        self._told: set[str] = set()

    async def __aenter__(self) -> EtcdRegistry:
        self._endpoints = Endpoints(self._servers.connect(grpc.aio), self._servers)
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
        registration = LeasedKey(self._servers, key, value, ttl_seconds)
        self._keys.add(registration)
        task = self._tasks.create_task(registration.keep(), name=f"keep {key} in etcd")
        task.add_done_callback(lambda _: self._keys.discard(registration))
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
            await asyncio.gather(*(registration.close() for registration in self._keys))
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
        """The change as a watcher is told of it: any bytes may be a key, and what is too large for a record of ours is not there."""
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
            async with self._endpoints.blaming(stubs, operation), deadline(operation, CALL_SECONDS):
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


def differences(known: Mapping[str, bytes], present: Mapping[str, bytes]) -> list[Change]:
    """What turns ``known`` into ``present``: first what is new or changed, then what is gone."""
    changed = [Change(key, value) for key, value in present.items() if known.get(key) != value]
    return changed + [Change(key, None) for key in known if key not in present]


def _range(prefix: str) -> tuple[bytes, bytes]:
    """The first key of the prefix and the first behind it; a zero byte for both means all keys."""
    if not prefix:
        return b"\0", b"\0"
    start = prefix.encode()
    return start, start[:-1] + bytes([start[-1] + 1])  # UTF-8 has no byte 255
