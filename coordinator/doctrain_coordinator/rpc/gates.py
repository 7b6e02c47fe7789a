"""How many calls are served at once, of one tenant and in all; the others wait in line, their requests unread.

A request that is not read waits at its client: what a call costs in memory, time and connections begins behind its gate. It is read in
its tenant's turn, on one of so many places in all (`places.py`), and served in the turn in all: who sends nothing keeps its own turns only
(docs/adr/0035).

A call that waits for somebody else's server, as that of a manifest does, keeps nobody but its tenant waiting: it gives its place and its
turn in all back, and takes a turn again when it goes on.

gRPC takes a message in whole, up to the largest of any method, before it can be refused as too large for its own: so many places, so many
of the largest requests in memory. Who shows no key has few, in the turn of its machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Self

from doctrain_coordinator.rpc.places import Place, Places, Whose
from doctrain_coordinator.rpc.policies import Cost
from doctrain_coordinator.tenants.identity import ROLE_OPERATOR, Identity
from doctrain_mesh.errors import QuotaExceededError, ShuttingDownError

RETRY_SECONDS = 1.0
ELSEWHERE_SECONDS = 0.1
"""When to call again a coordinator that shuts down: another one may be behind the same address."""
REQUEST_PATIENCE_SECONDS = 5.0
"""How long a request may keep others from being read."""
SMALL_PATIENCE_SECONDS = 1.0
"""How long a request that comes with its call may keep others from being read."""
UPLOAD_PATIENCE_SECONDS = 15.0
"""How long an upload may keep others waiting while less comes than ``places.SLOWEST_BYTES_A_SECOND``."""


@dataclass(slots=True)
class _Line:
    """One tenant's calls: those that are served, and those that wait."""

    turns: asyncio.Semaphore
    calls: int = 0


class Turn:
    """One call's, of those that are served at once; held while this is open, but for what is ``aside``."""

    def __init__(self, turns: asyncio.Semaphore, place: Place) -> None:
        self._turns, self._place = turns, place
        self._held = False

    async def __aenter__(self) -> Self:
        await self._turns.acquire()
        self._held = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self._give_back()

    @asynccontextmanager
    async def aside(self) -> AsyncIterator[None]:
        """Open while the call waits for a server that others have a say in, without its turn, and from then on without its place.

        What a place bounds is the memory of requests: this is for calls whose requests are small. A call that fails meanwhile ends without
        a turn.
        """
        self._give_back()
        self._place.leave()
        yield
        await self.__aenter__()

    def _give_back(self) -> None:
        if self._held:
            self._held = False
            self._turns.release()


class Gate:
    """Reads and serves ``of_tenant`` calls of one tenant at once; of one tenant ``waiting`` more may wait.

    Of everybody ``in_all`` are served at once and ``at_hand`` have a place, on which their request is read and kept until it is answered.
    With ``to_read`` a place is for the reading alone and there is no turn: for requests that are small, of calls that last. Of one tenant
    ``of_tenant`` are read at once.
    """

    def __init__(
        self,
        *,
        of_tenant: int,
        in_all: int,
        at_hand: int,
        waiting: int,
        patience_seconds: float = REQUEST_PATIENCE_SECONDS,
        to_read: bool = False,
    ) -> None:
        self._of_tenant, self._waiting, self._to_read = of_tenant, waiting, to_read
        self._turns = asyncio.Semaphore(in_all)
        self._places = Places(at_hand, patience_seconds, of_one=of_tenant)
        self._lines: dict[Whose, _Line] = {}

    @asynccontextmanager
    async def place(self, tenant: Whose) -> AsyncIterator[Place]:
        """Open while the call's request is read, of which it is told, and the call served.

        Raises QuotaExceededError where too many wait before it.
        """
        line = self._lines.setdefault(tenant, _Line(asyncio.Semaphore(self._of_tenant)))
        most = self._of_tenant + self._waiting
        if line.calls >= most:
            raise QuotaExceededError(
                f"More than {most:,} such calls at once; wait for some of them to be answered.",
                metadata={"limit": str(most), "unit": "calls"},
                retry_after_seconds=RETRY_SECONDS,
            )
        line.calls += 1
        try:
            async with AsyncExitStack() as held:
                if not self._to_read:
                    await held.enter_async_context(line.turns)
                place = await held.enter_async_context(self._places.one(tenant))
                place.to_read = self._to_read
                yield place
        finally:
            line.calls -= 1
            if not line.calls:
                del self._lines[tenant]

    def turn(self, place: Place) -> Turn:
        """To be open while the call on that place is served, once its request is read."""
        return Turn(self._turns, place)


class Gates:
    """Those of one coordinator, by what its methods cost."""

    def __init__(self) -> None:
        self._closed = False
        # Quick calls have a connection each, of pools that are smaller than ``in_all``.
        self._quick = Gate(of_tenant=4, in_all=32, at_hand=64, waiting=252)
        # Operators count as one tenant, whom nobody else's calls keep waiting.
        self._operators = Gate(of_tenant=32, in_all=8, at_hand=33, waiting=224)
        # One that stores documents holds up to the largest request in memory, and a connection for as long as that takes, as does one that
        # deletes some: both together fewer than calls have connections.
        self._storing = Gate(of_tenant=2, in_all=5, at_hand=12, waiting=254)
        self._deleting = Gate(of_tenant=1, in_all=2, at_hand=4, waiting=63)
        # An upload holds some 20 MiB until it ends.
        self._uploads = Gate(of_tenant=4, in_all=16, at_hand=16, waiting=60, patience_seconds=UPLOAD_PATIENCE_SECONDS)
        # A search keeps a core of Postgres busy, and before that the model, which serves one at a time.
        self._searches = Gate(of_tenant=4, in_all=12, at_hand=24, waiting=28)
        # A watch that waits for its turn would be silent: it waits to be read only.
        self._watches = _to_read(of_tenant=4, at_hand=16, calls=1_000)
        self.public = _to_read(of_tenant=4, at_hand=8, calls=1_000)
        """Of calls without a key, by the machine that they come from; open to the end, as health is told to the end."""
        self.workers = _to_read(of_tenant=7, at_hand=8, calls=10_000)
        """Of the first messages of workers' streams, by their key."""
        self._of = {
            Cost.QUICK: self._quick,
            Cost.STORING: self._storing,
            Cost.DELETING: self._deleting,
            Cost.UPLOAD: self._uploads,
            Cost.SEARCH: self._searches,
            Cost.WATCH: self._watches,
        }

    def of(self, cost: Cost, caller: Identity) -> Gate:
        """The gate of such a call for a tenant or an operator; raises ShuttingDownError once they are closed."""
        if self._closed:
            raise ShuttingDownError(
                "This coordinator shuts down; call another one, or this one again later.", retry_after_seconds=ELSEWHERE_SECONDS
            )
        gate = self._of[cost]
        return self._operators if caller.role == ROLE_OPERATOR and gate is not self._watches else gate

    def close(self) -> None:
        """Lets nobody in any more; calls that are in, or in line, are served. One that gRPC's own end meets would read CANCELLED."""
        self._closed = True


def _to_read(*, of_tenant: int, at_hand: int, calls: int) -> Gate:
    """For ``calls`` at once of one tenant, which are served at once and read in turn."""
    return Gate(
        of_tenant=of_tenant,
        in_all=10_000,
        at_hand=at_hand,
        waiting=calls - of_tenant,
        patience_seconds=SMALL_PATIENCE_SECONDS,
        to_read=True,
    )
