"""A TCP proxy on loopback that stands for a network: cut with a reset, stalled one way or both, slow, lossy.

Every connection belongs to an owner (a name that ``owner_of`` finds by the client port), and a test rules the network of
one owner or of all. While a direction stalls nothing passes, not even the end of a connection, and nothing is lost: what was
sent meanwhile arrives when it is healed, as over a network whose packets are sent again.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Protocol

PIECE_BYTES = 65536
_SSL_REQUEST = bytes.fromhex("0000000804d2162f")
TRICKLE_BYTES, TRICKLE_SECONDS = 512, 0.01


class Tap(Protocol):
    """Sees the bytes of one connection, in their order, as they arrive at the proxy."""

    def there(self, data: bytes) -> None:
        """From the client."""

    def back(self, data: bytes) -> None:
        """From the server."""

    def closed(self) -> None:
        """The connection ended."""


class Direction:
    """One way through the proxy."""

    def __init__(self) -> None:
        self.delay_seconds = 0.0
        self.piece_bytes = PIECE_BYTES
        self._flows = asyncio.Event()
        self._flows.set()

    def stall(self) -> None:
        """Nothing passes any more."""
        self._flows.clear()

    def flow(self) -> None:
        """All passes, also what waited."""
        self._flows.set()

    async def passes(self) -> None:
        """Returns when the next piece may pass."""
        if self.delay_seconds:
            await asyncio.sleep(self.delay_seconds)
        await self._flows.wait()


class Rule:
    """The network of one owner."""

    def __init__(self) -> None:
        self.there, self.back = Direction(), Direction()
        self.open: set[asyncio.StreamWriter] = set()

    def stall(self) -> None:
        """Cuts both ways, without a reset."""
        self.there.stall()
        self.back.stall()

    def heal(self) -> None:
        """All passes at once, both ways."""
        for direction in (self.there, self.back):
            direction.delay_seconds = 0.0
            direction.flow()

    async def recover(self, seconds: float) -> None:
        """Heals as a real network does, a little at a time at first, so that what waited arrives piece by piece."""
        for direction in (self.there, self.back):
            direction.piece_bytes = TRICKLE_BYTES
        self.heal()
        try:
            self.slow(TRICKLE_SECONDS)
            await asyncio.sleep(seconds)
        finally:
            self.heal()
            for direction in (self.there, self.back):
                direction.piece_bytes = PIECE_BYTES

    def slow(self, seconds: float) -> None:
        """Every piece waits, both ways."""
        self.there.delay_seconds = self.back.delay_seconds = seconds

    def forget(self) -> None:
        """Connections that are open are dead for good, and neither end is told, as behind a gateway that forgot them; new ones pass."""
        self.stall()
        self.there, self.back = Direction(), Direction()

    def reset(self) -> int:
        """Ends every connection with a reset; answers how many there were."""
        for writer in self.open:
            writer.transport.abort()
        return len(self.open) // 2


class Proxy:
    """Forwards to one address. Made by ``proxy``."""

    def __init__(
        self, host: str, port: int, owner_of: Callable[[int], str] | None = None, tap: Callable[[str], Tap | None] | None = None
    ) -> None:
        self._target = host, port
        self._owner_of = owner_of
        self._tap = tap or (lambda owner: None)
        self._rules: dict[str, Rule] = {}
        self.port = 0

    def rule(self, owner: str = "") -> Rule:
        """The network of that owner, present and future connections."""
        return self._rules.setdefault(owner, Rule())

    @property
    def rules(self) -> list[Rule]:
        """Of every owner seen so far."""
        return list(self._rules.values())

    def lead_to(self, host: str, port: int) -> None:
        """New connections are of that address from now on, as when a name gets another one."""
        self._target = host, port

    def cut(self) -> int:
        """Resets every connection that is open, new ones are let through; answers how many it cut."""
        return sum(rule.reset() for rule in self.rules)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client."""
        owner = "" if self._owner_of is None else await asyncio.to_thread(self._owner_of, writer.get_extra_info("peername")[1])
        rule, tap = self.rule(owner), self._tap(owner)
        await rule.there.passes()
        try:
            there, back = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, back}
        rule.open |= pair
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, back, rule.there, tap.there if tap else None))
                group.create_task(_pump(there, writer, rule.back, tap.back if tap else None))
        finally:
            rule.open -= pair
            for end in pair:
                end.transport.abort()
            if tap:
                tap.closed()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Direction, tap: Callable[[bytes], None] | None) -> None:
    try:
        while data := await reader.read(way.piece_bytes):
            if tap is not None:
                tap(data)
            await way.passes()
            writer.write(data)
            await writer.drain()
        await way.passes()
        writer.close()  # what was written before still goes out
        return
    except ConnectionError:
        pass
    await way.passes()
    writer.transport.abort()


async def _spoke_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext) -> bool:
    """Answers a client's SSLRequest as a Postgres with TLS does; whether they then trusted each other."""
    try:
        assert await reader.readexactly(len(_SSL_REQUEST)) == _SSL_REQUEST
        writer.write(b"S")
        await writer.start_tls(context)
    except (OSError, EOFError):
        writer.transport.abort()
        return False
    return True


@asynccontextmanager
async def proxy(
    host: str,
    port: int,
    *,
    owner_of: Callable[[int], str] | None = None,
    tap: Callable[[str], Tap | None] | None = None,
    postgres_tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Proxy]:
    """A proxy to that address on a free port. With ``postgres_tls`` it stands before a Postgres, and clients speak TLS with it."""
    running = Proxy(host, port, owner_of, tap)
    connections: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            if postgres_tls is None or await _spoke_tls(reader, writer, postgres_tls):
                await running.serve(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()  # the loop ends; asyncio's streams would call a cancelled connection an error of theirs
        finally:
            connections.discard(task)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    running.port = server.sockets[0].getsockname()[1]
    try:
        yield running
    finally:
        server.close()
        running.cut()
        for rule in running.rules:
            rule.heal()
        with suppress(TimeoutError):
            async with asyncio.timeout(2):
                await asyncio.gather(*connections, return_exceptions=True)
