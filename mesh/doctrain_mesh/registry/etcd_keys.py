"""A key in etcd under a lease, kept from a thread of its own: an event loop that is busy for longer than the lease loses nothing.

A lease that lapsed is granted anew (a refresh of a dead one answers "0 s left" without an error). The thread uses the half of grpc that
waits, because the loops of a process share the poller of the other half, which so has to stay in one thread.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import grpc
from aetcd import rpc

from doctrain_mesh.errors import OperationTimeoutError, RegistryUnavailableError
from doctrain_mesh.registry.etcd_endpoints import CALL_SECONDS, OUTAGE, RETRY_SECONDS, LeaseLostError, Servers, Stubs
from doctrain_mesh.supervise import in_thread

log = logging.getLogger(__name__)
REFRESHES_PER_LEASE = 3


class LeasedKey:
    """A key, its lease, and the thread that keeps both. ``present`` is set once it is there; ``keep`` once, in the loop that made it."""

    def __init__(self, servers: Servers, key: str, value: bytes, ttl_seconds: int) -> None:
        self.present = asyncio.Event()
        self._servers, self._key, self._value, self._ttl_seconds = servers, key, value, ttl_seconds
        self._loop = asyncio.get_running_loop()
        self._news = threading.Event()
        self._changed = self._closing = False
        self._endpoints: list[Stubs] = []
        self._call: Any = None
        self._lease, self._refresh_at = 0, 0.0
        self._ended = in_thread(f"keep {key} in etcd", self._run)

    def update(self, value: bytes) -> None:
        """Returns at once, in any thread; values that follow each other faster than etcd takes them are conflated."""
        self._value, self._changed = value, True
        self._news.set()

    async def keep(self) -> None:
        """Until closed; raises what ended the thread before."""
        await asyncio.shield(self._ended)

    async def close(self) -> None:
        """Removes the key; takes one call at most, to each endpoint."""
        if not self._closing:
            call, self._closing = self._call, True  # the next call is the one that removes the key
            self._news.set()
            if call is not None:
                call.cancel()
        await asyncio.wait({self._ended})

    # In the thread

    def _run(self) -> None:
        self._endpoints = self._servers.connect(grpc)
        try:
            self._keep()
            self._remove()
        finally:
            for stubs in self._endpoints:
                stubs.channel.close()

    def _keep(self) -> None:
        pause = 0.0
        while not self._wait(pause):
            pause = RETRY_SECONDS
            try:
                self._keep_leased()
            except RegistryUnavailableError as error:
                if not self._closing:
                    log.warning("Keeping %s in etcd failed and is tried again in %g s: %s", self._key, RETRY_SECONDS, error)
            except LeaseLostError:
                log.warning("etcd let the lease of %s lapse; it is registered anew.", self._key)
                self._lease, pause = 0, 0.0

    def _keep_leased(self) -> None:
        """One lease: granted if there is none, the key put under it, refreshed until it is lost or the key is closed."""
        if not self._lease:
            self._lease = self._refreshing(f"registering {self._key}", self._grant).ID
            self._changed = True
        while not self._closing:
            if time.monotonic() >= self._refresh_at:
                self._refreshing(f"refreshing {self._key}", self._refresh)
            if self._changed:
                self._put()
                self._tell(self.present.set)
            self._wait(self._refresh_at - time.monotonic())

    def _refreshing(self, operation: str, invoke: Callable[[Stubs], Any]) -> Any:
        """A call from whose beginning on the lease has its time again."""
        began = time.monotonic()
        answer = self._ask(operation, invoke)
        self._refresh_at = began + self._ttl_seconds / REFRESHES_PER_LEASE
        return answer

    def _put(self) -> None:
        self._changed = False
        try:
            self._ask(f"writing {self._key}", self._write)
        except BaseException:
            self._changed = True
            raise

    def _remove(self) -> None:
        if not self._lease:
            return
        try:
            self._ask(f"removing {self._key}", self._revoke)
        except (RegistryUnavailableError, LeaseLostError) as error:
            log.info("%s was not removed from etcd; its lease of %d s ends by itself: %s", self._key, self._ttl_seconds, error)

    def _wait(self, seconds: float) -> bool:
        """Until there is a new value or the key is closed, for so long at most; answers whether it is closed."""
        if not self._closing:
            self._news.wait(max(0.0, seconds))
            self._news.clear()
        return self._closing

    def _ask(self, operation: str, invoke: Callable[[Stubs], Any]) -> Any:
        """Tries every endpoint once; raises RegistryUnavailableError, LeaseLostError."""
        for remaining in reversed(range(len(self._endpoints))):
            index = self._servers.index
            stubs = self._endpoints[index]
            try:
                answer = invoke(stubs)
            except (grpc.RpcError, grpc.FutureCancelledError, OperationTimeoutError) as error:
                unavailable = self._servers.blame(index, stubs, operation, error)
                if not remaining:
                    if not self._closing:
                        self._tell(OUTAGE.away, unavailable.sentence)
                    raise unavailable from error
            else:
                self._tell(OUTAGE.back)
                return answer
        raise AssertionError("a registry has an endpoint at least")

    def _unary(self, method: Any, request: Any) -> Any:
        """A call that ``close`` may cancel."""
        self._call = call = method.future(request, timeout=CALL_SECONDS)
        return call.result()

    def _grant(self, stubs: Stubs) -> Any:
        return self._unary(stubs.lease.LeaseGrant, rpc.LeaseGrantRequest(TTL=self._ttl_seconds))

    def _write(self, stubs: Stubs) -> Any:
        return self._unary(stubs.kv.Put, rpc.PutRequest(key=self._key.encode(), value=self._value, lease=self._lease))

    def _revoke(self, stubs: Stubs) -> Any:
        return self._unary(stubs.lease.LeaseRevoke, rpc.LeaseRevokeRequest(ID=self._lease))

    def _refresh(self, stubs: Stubs) -> None:
        self._call = call = stubs.lease.LeaseKeepAlive(iter([rpc.LeaseKeepAliveRequest(ID=self._lease)]), timeout=CALL_SECONDS)
        try:
            answer = next(call)
        except StopIteration as error:
            raise OperationTimeoutError("etcd closed the stream of lease refreshes.") from error
        finally:
            call.cancel()
        if answer.TTL <= 0:
            raise LeaseLostError

    def _tell(self, what: Callable[..., object], *arguments: object) -> None:
        """In the loop, if it is still there."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(what, *arguments)
