"""The slots of one hold of a shard: permanent coroutines that pull documents from its window."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from doctrain_worker.core.width import Width
from doctrain_worker.core.window import Window
from doctrain_worker.shards.attempts import Attempts
from doctrain_worker.shards.orders import Orders
from doctrain_worker.shards.reports import Reports
from doctrain_worker.shards.setup import ShardSetup


class Slots:
    """``width`` documents at once, in as many slots; a processor that answers at once has no use for more than one.

    Where the width grows, slots are added; where it shrinks, those beyond it start nothing. A document holds its slot until its result is
    answered, but for one report batch (``core.results``). ``all_started`` is called, maybe more than once, when none is left to start.
    """

    def __init__(
        self,
        setup: ShardSetup,
        *,
        window: Window,
        attempts: Attempts,
        reports: Reports,
        orders: Orders,
        width: Width,
        all_started: Callable[[], None],
    ) -> None:
        self._setup, self._window, self._attempts, self._reports, self._orders = setup, window, attempts, reports, orders
        self._all_started = all_started
        self._width = width

    async def run(self) -> None:
        """Returns when nothing runs, and nothing is left that may start."""
        async with asyncio.TaskGroup() as group:
            if self._attempts.at_once:
                group.create_task(self._slot())
                return
            slots = 0
            while not self._over:
                for _ in range(slots, self._width.now):
                    group.create_task(self._slot())
                slots = max(slots, self._width.now)
                await self._orders.changed()

    @property
    def _over(self) -> bool:
        return self._orders.starts_no_more or self._nothing_left

    @property
    def _nothing_left(self) -> bool:
        return self._window.empty and not self._reports.running

    async def _slot(self) -> None:
        setup, window, reports, orders = self._setup, self._window, self._reports, self._orders
        while not self._over:
            now = setup.clock()
            if not setup.gate.admits(now):
                await setup.gate.changed()
            elif not reports.leaves_slot(now, self._width.now):
                await orders.changed()
            elif not window.ready(now):
                due = window.next_due
                await orders.changed(None if due is None else max(0.0, due - now))
            elif self._attempts.at_once:
                async with setup.thread:
                    await self._turns()
            elif (ordinal := window.take(now)) is not None:
                await self._document(ordinal, now)

    async def _document(self, ordinal: int, now: float) -> None:
        if self._window.empty:
            self._all_started()
        again = await self._attempts.one(ordinal, now)
        if again is not None:
            self._window.retry(ordinal, self._setup.clock() + again.seconds)
            self._orders.wake()
        self._report()

    async def _turns(self) -> None:
        """Turn after turn of the event loop, until it has to wait."""
        while not self._orders.starts_no_more:
            now = self._setup.clock()
            if not (self._setup.gate.admits(now) and self._reports.leaves_slot(now, self._width.now) and self._window.ready(now)):
                return
            self._attempts.turn(self._window, now)
            if self._window.empty:
                self._all_started()
            self._report()
            await asyncio.sleep(0)

    def _report(self) -> None:
        """Tells the tracker that there are results, and the other slots when these were the last."""
        last = self._nothing_left
        self._reports.send(urgent=last)
        if last:
            self._orders.wake()
