"""The network between one worker and all coordinators: cut both ways, stalled one way, slow, lossy."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from chaos.faults.fault import Fault
from chaos.world import LEASE_SECONDS
from testkit.proxy import Rule

RECOVER_SECONDS = 1.0


class _Network(Fault):
    seconds: ClassVar[tuple[float, float]] = (1.0, LEASE_SECONDS + 2.5)
    to_heal = True

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.rules: list[Rule] = []
        self.victim = ""

    async def inject(self) -> str:
        self.victim = self.draw.choice(self.world.fleet.workers).name
        self.rules = [network.rule(self.victim) for network in self.world.coordinator_networks.values()]
        self.harm()
        return self.victim

    def harm(self) -> None:
        raise NotImplementedError

    async def heal(self) -> None:
        for rule in self.rules:
            rule.heal()


class _Stalled(_Network):
    """Healed a little at a time: words of before the cut arrive late, and one by one."""

    async def heal(self) -> None:
        await asyncio.gather(*(rule.recover(RECOVER_SECONDS) for rule in self.rules))


class Cut(_Stalled):
    """Nothing passes, and nothing says so."""

    name = "network cut both ways"

    def harm(self) -> None:
        for rule in self.rules:
            rule.stall()


class CutThere(_Stalled):
    """What the worker says does not arrive; it hears the coordinators."""

    name = "network cut from worker to coordinator"

    def harm(self) -> None:
        for rule in self.rules:
            rule.there.stall()


class CutBack(_Stalled):
    """The coordinators hear the worker; it hears nothing."""

    name = "network cut from coordinator to worker"

    def harm(self) -> None:
        for rule in self.rules:
            rule.back.stall()


class Slow(_Network):
    """A fifth of a second more for every piece, each way."""

    name = "network slow"
    seconds: ClassVar[tuple[float, float]] = (2.0, 5.0)

    def harm(self) -> None:
        for rule in self.rules:
            rule.slow(0.2)


class Lossy(_Network):
    """Connections are reset again and again."""

    name = "network resets connections"
    seconds: ClassVar[tuple[float, float]] = (2.0, 5.0)
    _resets: asyncio.Task[None] | None = None

    def harm(self) -> None:
        self._resets = asyncio.create_task(self._reset(), name="resets")

    async def _reset(self) -> None:
        while True:
            for rule in self.rules:
                rule.reset()
            await asyncio.sleep(self.draw.uniform(0.1, 1.2))

    async def heal(self) -> None:
        if self._resets is not None:
            self._resets.cancel()
        await super().heal()


FAULTS = (Cut, CutThere, CutBack, Slow, Lossy)
