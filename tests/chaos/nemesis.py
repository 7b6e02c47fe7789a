"""Deals faults one after the other, now and then two at once (not of one server), from decks that hold every kind once."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Iterator, Sequence

from chaos.faults.fault import Fault
from chaos.world import World

RECOVERY_SECONDS = 60.0
PAIRS_SHARE = 0.3
WHOLE_SECONDS = 15.0


class Nemesis:
    """``dealt`` counts the faults that were made and healed."""

    def __init__(self, world: World, kinds: Sequence[type[Fault]]) -> None:
        self._world, self._draw = world, world.random
        self.kinds = [kind for kind in kinds if not kind.impossible(world)]
        self.dealt = 0
        for kind in kinds:
            if reason := kind.impossible(world):
                world.journal.write("impossible", kind=kind.name, reason=reason)

    async def run(self, count: int) -> None:
        """Deals so many faults."""
        deck: Iterator[type[Fault]] = self._deck()
        while self.dealt < count:
            kinds = [next(deck)]
            if self._draw.random() < PAIRS_SHARE and count - self.dealt >= 2:
                other = next(deck)
                if other.server and other.server == kinds[0].server:
                    deck = itertools.chain([other], deck)
                else:
                    kinds.append(other)
            async with asyncio.TaskGroup() as group:
                for kind in kinds:
                    fault = kind(self._world, random.Random(self._draw.random()))
                    group.create_task(self._strike(fault, alone=len(kinds) == 1))
            if self._draw.random() < 0.8:  # else the next one meets a fleet that is still starting
                await self._world.fleet.whole(WHOLE_SECONDS)
            await asyncio.sleep(self._draw.uniform(0.2, 1.5))

    def _deck(self) -> Iterator[type[Fault]]:
        while True:
            yield from self._draw.sample(self.kinds, len(self.kinds))

    async def _strike(self, fault: Fault, *, alone: bool) -> None:
        world = self._world
        began = time.monotonic()
        victim = await fault.inject()
        made = time.monotonic()
        try:
            await asyncio.sleep(await fault.last())
        finally:
            await fault.heal()
        healed = time.monotonic()
        since = healed if fault.to_heal else made
        recovery = await world.sampler.progress_after(since, RECOVERY_SECONDS)
        world.journal.write(
            "faults",
            kind=fault.name,
            victim=victim,
            began=began,
            made=made,
            healed=healed,
            alone=alone,
            to_heal=fault.to_heal,
            recovery=recovery,
        )
        self.dealt += 1
        progress = "nothing recorded" if recovery is None else f"recorded again after {recovery:.2f} s"
        print(f"{self.dealt:4d} {fault.name} ({victim}): {healed - began:.1f} s, {progress}", flush=True)
