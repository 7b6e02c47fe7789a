"""etcd down, frozen, wiped: none of which may stop any work."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from chaos.faults.fault import Fault


class Down(Fault):
    """SIGKILL, and started again on its data a while later."""

    name = "etcd down"
    server = "etcd"
    seconds: ClassVar[tuple[float, float]] = (1.0, 4.0)
    to_heal = True

    async def inject(self) -> str:
        await asyncio.to_thread(self.world.etcd.kill)
        return "etcd"

    async def heal(self) -> None:
        await self.world.etcd.restart()


class Frozen(Fault):
    """SIGSTOP; when it goes on, every lease has lapsed at once."""

    name = "etcd frozen"
    server = "etcd"
    seconds: ClassVar[tuple[float, float]] = (2.0, 6.0)
    to_heal = True

    async def inject(self) -> str:
        await asyncio.to_thread(self.world.etcd.freeze)
        return "etcd"

    async def heal(self) -> None:
        self.world.etcd.thaw()


class Wiped(Fault):
    """It comes back empty."""

    name = "etcd wiped"
    server = "etcd"
    to_heal = True

    async def inject(self) -> str:
        await asyncio.to_thread(self.world.etcd.kill)
        return "etcd"

    async def heal(self) -> None:
        await self.world.etcd.wipe()


FAULTS = (Down, Frozen, Wiped)
