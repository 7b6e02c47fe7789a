"""The addresses of a service and a gRPC channel to each.

A client keeps to one address while it answers and moves on when it does not. It begins at a random one, so that the
clients of a service spread over its coordinators.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import grpc
import grpc.aio

from doctrain import errors, probe, retry
from doctrain.files import opened
from doctrain.pace import Pace, kept
from doctrain.tries import Tries
from doctrain.v1 import fleet_pb2_grpc, search_pb2_grpc, training_pb2_grpc

CONNECT_SECONDS = 2.0
"""How long one connection may take to come about before the address counts as away."""
SYSTEM_ROOTS = "system"
"""As ``ca``: TLS with the certificate authorities that gRPC ships."""
_KEY = re.compile(r"[A-Za-z0-9_-]+")

_OPTIONS = [
    # A page of a thousand documents with all their metadata may pass gRPC's 4 MiB.
    ("grpc.max_receive_message_length", 128 * 2**20),
    # Also the limit of one connection's making; the default of 20 s is longer than most calls may take.
    ("grpc.min_reconnect_backoff_ms", int(CONNECT_SECONDS * 1000)),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", int(retry.LONGEST_PAUSE_SECONDS * 1000)),
]

Request = TypeVar("Request")
Response = TypeVar("Response")


@dataclass(frozen=True)
class Endpoint:
    """One address with its channel and the stubs on it."""

    address: str
    channel: grpc.aio.Channel
    training: training_pb2_grpc.TrainingServiceAsyncStub
    search: search_pb2_grpc.SearchServiceAsyncStub
    fleet: fleet_pb2_grpc.FleetServiceAsyncStub
    pace: Pace


def parse_addresses(addresses: str | Sequence[str]) -> tuple[str, ...]:
    """Splits ``host:port[,host:port]`` or takes a sequence of ``host:port``; raises UsageError that says what is wrong."""
    given = addresses.split(",") if isinstance(addresses, str) else addresses
    parsed = tuple(dict.fromkeys(address.strip() for address in given if address.strip()))
    if not parsed:
        raise errors.UsageError("No address of a doctrain service was given; an address looks like localhost:7700.")
    for address in parsed:
        host, _, port = address.rpartition(":")
        if "://" in address or not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise errors.UsageError(f"{address!r} is not an address; write host:port, such as localhost:7700.")
    return parsed


def parse_key(api_key: object) -> str:
    """The key without the spaces and line ends that copying leaves around it; raises InvalidKeyError without telling the key."""
    if not isinstance(api_key, str):
        raise errors.InvalidKeyError(
            f"The API key is of type {type(api_key).__name__}; give its text, which is the `.key` of what create_key answers."
        )
    key = api_key.strip()
    if not key:
        raise errors.InvalidKeyError("The API key is empty; give the one that the operator made for you.")
    if not _KEY.fullmatch(key):
        raise errors.InvalidKeyError(
            "The API key contains spaces, line breaks, quotes or other characters that no key has; copy it again, alone and in one line."
        )
    return key


def parse_tenant(tenant: str) -> str:
    """A name that may be sent; raises UsageError."""
    if not (tenant.isascii() and tenant.isprintable() and tenant == tenant.strip()):
        raise errors.UsageError(f"{tenant!r} is no tenant's name; `doctrain tenants list` shows them.")
    return tenant


def read_authority(ca: str | Path | None) -> bytes | None:
    """The certificates of a CA file; None for no TLS and for the public authorities. Raises UsageError."""
    if ca is None or ca == SYSTEM_ROOTS:
        return None
    try:
        with opened(Path(ca)) as file:
            content = file.read()
    except OSError as error:
        raise errors.UsageError(f"The CA file {ca} cannot be read: {error.strerror}.") from error
    if b"-----BEGIN CERTIFICATE-----" not in content:
        raise errors.UsageError(f"The CA file {ca} contains no certificate; give a PEM file, or {SYSTEM_ROOTS!r} for the public ones.")
    return content


class Endpoints:
    """Opens channels at their first use, since a channel belongs to the event loop that runs then."""

    def __init__(
        self,
        addresses: str | Sequence[str],
        *,
        api_key: str,
        ca: str | Path | None,
        tenant: str = "",
        interceptors: Sequence[grpc.aio.ClientInterceptor],
    ) -> None:
        self._addresses = parse_addresses(addresses)
        self._tls = ca is not None
        self._roots = read_authority(ca)
        self._interceptors = list(interceptors)
        self._open: dict[str, Endpoint] = {}
        self._preferred = random.randrange(len(self._addresses))  # noqa: S311 (spreads clients; no secret)
        self._closed = False
        self.heard = False
        """Whether the service has ever answered: it is where it is looked for, and worth waiting for."""
        acting = (("doctrain-tenant", parse_tenant(tenant)),) if tenant else ()
        self.metadata: tuple[tuple[str, str], ...] = (("authorization", f"Bearer {parse_key(api_key)}"), *acting)

    def __len__(self) -> int:
        return len(self._addresses)

    def next(self, tries: Tries) -> Endpoint:
        """The endpoint to use now: the preferred one, but every one has its turn before one has another.

        Calls that run side by side would else send each other back and forth, and leave an address out.
        """
        if self._closed:
            raise RuntimeError("This client is closed.")
        order = (*self._addresses[self._preferred :], *self._addresses[: self._preferred])
        address = min(order, key=tries.rank)
        endpoint = self._open.get(address)
        if endpoint is None:
            endpoint = self._open[address] = self._connect(address)
        return endpoint

    def failed(self, endpoint: Endpoint) -> None:
        """Moves on to the next address, unless another call did so already."""
        if endpoint.address == self._addresses[self._preferred]:
            self._preferred = (self._preferred + 1) % len(self._addresses)

    async def close(self) -> None:
        """Ends all calls and connections."""
        self._closed = True
        channels = [endpoint.channel for endpoint in self._open.values()]
        self._open.clear()
        for channel in channels:
            await channel.close()

    async def call(
        self,
        operation: str,
        method: Callable[[Endpoint], grpc.aio.UnaryUnaryMultiCallable[Request, Response]],
        request: Request,
        *,
        seconds: float,
        repeatable: bool = True,
        patience_seconds: float = 0.0,
    ) -> Response:
        """Makes one call within ``seconds``, retries included; raises the DoctrainError that ended it.

        One that is not ``repeatable`` is made again only when certainly nothing of it was sent. ``patience_seconds``: see ``attempts``.
        """

        async def attempt(endpoint: Endpoint, remaining_seconds: float) -> Response:
            return await method(endpoint)(request, timeout=remaining_seconds, metadata=self.metadata)

        lost, turns = retry.gone_away if repeatable else retry.unsent, retry.turns(len(self))
        return await self.attempts(operation, attempt, lost=lost, turns=turns, patience_seconds=patience_seconds, seconds=seconds)

    async def attempts(
        self,
        operation: str,
        attempt: Callable[[Endpoint, float], Awaitable[Response]],
        *,
        lost: Callable[[grpc.aio.AioRpcError], bool],
        turns: int,
        patience_seconds: float,
        seconds: float,
        again: bool = True,
    ) -> Response:
        """Tries ``attempt`` at one address after the other while it ends so that it may be made again: it is ``lost``.

        At most ``turns`` times, and of a service that has been heard for ``patience_seconds`` after the first failure, if that is longer.
        One that comes sooner than the tenant's plan allows is made ``again`` in its turn, within ``seconds``.
        """
        now = asyncio.get_running_loop().time
        end, give_up = now() + seconds, float("inf")
        tries = Tries(operation)
        for turn in itertools.count(1):
            endpoint = self.next(tries)
            try:
                answer = await kept(endpoint.pace, partial(attempt, endpoint), seconds=end - now(), again=again)
                self.heard = True
                return answer
            except grpc.aio.AioRpcError as error:
                if turn == 1:
                    give_up = now() + (patience_seconds if self.heard else 0.0)
                failure = self.translate(error, operation, endpoint, seconds)
                tries.add(endpoint.address, failure)
                pause = retry.pause_seconds(turn, len(self), random.random(), failure.retry_after_seconds)  # noqa: S311
                used_up = turn >= turns and now() >= give_up
                if not lost(error) or used_up or now() + pause >= end:
                    raise await self.told(failure, tries) from error
            await asyncio.sleep(pause)
        raise AssertionError("A turn returns, raises, or is followed by another.")

    async def told(self, last: errors.DoctrainError, tries: Tries) -> errors.DoctrainError:
        """The error to raise after the last try: it names every address, and TLS where that is the cause."""
        for address, failure in tries.uncertain():
            cause = await probe.cause(address, tls=self._tls)
            if cause is not None:
                better = errors.unreachable(cause, operation=tries.operation, address=address)
                tries.add(address, better)
                last = better if last is failure else last
        return tries.combined(last)

    def translate(self, error: grpc.aio.AioRpcError, operation: str, endpoint: Endpoint, seconds: float) -> errors.DoctrainError:
        """The error as this client raises it; an address that did not answer loses its turn."""
        if error.code() in (*retry.GONE_AWAY, grpc.StatusCode.DEADLINE_EXCEEDED):
            self.failed(endpoint)
        failure = errors.from_rpc_error(error, operation=operation, address=endpoint.address)
        if isinstance(failure, errors.CallTimeoutError) and not failure.reason:
            sentence = f"The service at {endpoint.address} did not {operation} within {seconds:g} s; whether it did so later is unknown."
            return errors.CallTimeoutError(sentence, status=failure.status, details=failure.details, cause="it did not answer in time")
        return failure

    def _connect(self, address: str) -> Endpoint:
        options = [*_OPTIONS, ("grpc.service_config", retry.service_config(len(self)))]
        if not self._tls:
            channel = grpc.aio.insecure_channel(address, options=options, interceptors=self._interceptors)
        else:
            credentials = grpc.ssl_channel_credentials(root_certificates=self._roots)
            channel = grpc.aio.secure_channel(address, credentials, options=options, interceptors=self._interceptors)
        training, fleet = training_pb2_grpc.TrainingServiceStub(channel), fleet_pb2_grpc.FleetServiceStub(channel)
        return Endpoint(address, channel, training, search_pb2_grpc.SearchServiceStub(channel), fleet, Pace())
