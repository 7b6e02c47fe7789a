"""Which coordinators there are: a fixed list and what the registry says, with a warm channel to each and to none that left."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from doctrain_mesh.errors import ConfigurationError
from doctrain_mesh.ports import Change, Registry
from doctrain_mesh.registry import membership
from doctrain_mesh.rpc import CHANNEL_OPTIONS

log = logging.getLogger(__name__)
MOST_REGISTERED = 100
"""Coordinators of the registry that are used at once, each with a channel; the fixed ones beside."""
# A peer that froze is noticed by the heartbeat's own deadline, well before gRPC's keepalive would.
OPTIONS = (
    *CHANNEL_OPTIONS,
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.initial_reconnect_backoff_ms", 100),
)


class Coordinators:
    """Addresses in the order in which they are to be tried; the one that failed last goes to the end. Without credentials: no TLS."""

    def __init__(self, fixed: str, credentials: grpc.ChannelCredentials | None = None) -> None:
        self._order = [address.strip() for address in fixed.split(",") if address.strip()]
        self._fixed = frozenset(self._order)
        # What the registry says, of which a watch holds every key and value itself; of its addresses those in use, and the others.
        self._by_key: dict[str, str] = {}
        self._named: Counter[str] = Counter()
        self._used: set[str] = set()
        self._spare: dict[str, None] = {}
        self._records = membership.Reader()
        self._told_of_too_many = False
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._users: Counter[str] = Counter()
        self._refusals: dict[str, str] = {}
        self._keyless: set[str] = set()
        self._credentials = credentials

    async def follow(self, registry: Registry) -> None:
        """Keeps up with the registry until cancelled."""
        async for change in registry.watch(membership.COORDINATORS):
            before = self._used.copy()
            self._learn(change)
            self._use_spare()
            if before != self._used:
                await self._close_left()
                self._warm()

    def _learn(self, change: Change) -> None:
        left = self._by_key.pop(change.key, None)
        address = None if change.value is None else self._records.read(change.key, change.value, membership.address)
        if address is not None:
            self._by_key[change.key] = address
            self._named[address] += 1
            if address not in self._used and address not in self._fixed:
                self._spare[address] = None
        if left is None:
            return
        self._named[left] -= 1
        if not self._named[left]:
            del self._named[left]
            self._spare.pop(left, None)
            if left in self._used:
                self._used.remove(left)
                self._order.remove(left)
                self._forget_refusal(left)

    def _use_spare(self) -> None:
        """Uses what there is room for: a watch tells each record once, and never again what was passed over."""
        while self._spare and len(self._used) < MOST_REGISTERED:
            address, _ = self._spare.popitem()
            self._used.add(address)
            self._order.append(address)
        if self._spare and not self._told_of_too_many:
            self._told_of_too_many = True
            log.warning("The registry names more than %d coordinators; the others are used when some of these have left.", MOST_REGISTERED)

    def addresses(self) -> tuple[str, ...]:
        """In the order in which they are to be tried: those with a connection first. Connects to the others."""
        return tuple(sorted(self._order, key=lambda address: not self._connected(address)))

    def _connected(self, address: str) -> bool:
        return self.channel(address).get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY

    def failed(self, address: str, why: str, *, key_refused: bool = False) -> None:
        """Others are tried before this one. A person looks for why a worker does not start: once at each new reason."""
        log.log(logging.DEBUG if why == self._refusals.get(address) else logging.WARNING, "Coordinator %s: %s", address, why)
        self._refusals[address] = why
        (self._keyless.add if key_refused else self._keyless.discard)(address)
        self.last(address)

    def succeeded(self, address: str) -> None:
        """It took a session on: its next refusal is news again."""
        self._forget_refusal(address)

    def _forget_refusal(self, address: str) -> None:
        self._refusals.pop(address, None)
        self._keyless.discard(address)

    def check_key(self) -> None:
        """Raises ConfigurationError when every coordinator refused our key: waiting does not mend it."""
        if self._order and self._keyless.issuperset(self._order):
            raise ConfigurationError(
                f"DOCTRAIN_WORKER_KEY is not the key of a worker: {', '.join(self._order)} refused it. "
                "An operator makes one: doctrain keys create --role worker."
            )

    def last(self, address: str) -> None:
        """Others are tried before this one."""
        if address in self._order:
            self._order.remove(address)
            self._order.append(address)

    @asynccontextmanager
    async def connection(self, address: str) -> AsyncIterator[grpc.aio.Channel]:
        """The channel to an address, which stays open for those who use it when the coordinator leaves the registry."""
        self._users[address] += 1
        try:
            yield self.channel(address)
        finally:
            self._users[address] -= 1
            await self._close_left()

    def channel(self, address: str) -> grpc.aio.Channel:
        """The channel to an address, the same every time."""
        channel = self._channels.get(address)
        if channel is None:
            if self._credentials is None:
                channel = grpc.aio.insecure_channel(address, options=OPTIONS)
            else:
                channel = grpc.aio.secure_channel(address, self._credentials, options=OPTIONS)
            self._channels[address] = channel
        return channel

    def _warm(self) -> None:
        """Connects to all, so that moving to another takes no time."""
        for address in self._order:
            self.channel(address).get_state(try_to_connect=True)

    async def _close_left(self) -> None:
        self._users = +self._users
        left = [address for address in self._channels if address not in self._order and address not in self._users]
        for channel in [self._channels.pop(address) for address in left]:
            await channel.close()

    async def close(self) -> None:
        """Closes every channel."""
        for channel in self._channels.values():
            await channel.close()
