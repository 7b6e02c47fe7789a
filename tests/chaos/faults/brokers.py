"""RabbitMQ killed, frozen, wiped, short of memory or disk, and its connections cut."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import ClassVar

from chaos.faults.fault import Fault
from testkit.rabbitmq import Resource


class Killed(Fault):
    """SIGKILL, and started again on its data a moment later."""

    name = "RabbitMQ killed and restarted"
    server = "RabbitMQ"
    seconds: ClassVar[tuple[float, float]] = (0.2, 2.0)
    to_heal = True

    async def inject(self) -> str:
        await self.world.rabbitmq.settle()
        await asyncio.to_thread(self.world.rabbitmq.kill)
        return "RabbitMQ"

    async def heal(self) -> None:
        await self.world.rabbitmq.restart()


class Frozen(Fault):
    """SIGSTOP: connections stay open, nothing answers."""

    name = "RabbitMQ frozen"
    server = "RabbitMQ"
    seconds: ClassVar[tuple[float, float]] = (3.0, 8.0)
    to_heal = True

    async def inject(self) -> str:
        await asyncio.to_thread(self.world.rabbitmq.freeze)
        return "RabbitMQ"

    async def heal(self) -> None:
        self.world.rabbitmq.thaw()


class Wiped(Fault):
    """SIGKILL, and it comes back empty: no queue, no message."""

    name = "RabbitMQ wiped"
    server = "RabbitMQ"
    to_heal = True

    async def inject(self) -> str:
        await asyncio.to_thread(self.world.rabbitmq.kill)
        return "RabbitMQ"

    async def heal(self) -> None:
        await self.world.rabbitmq.wipe()


class MemoryAlarm(Fault):
    """It believes itself short of memory and reads nobody who publishes."""

    name = "RabbitMQ memory alarm"
    server = "RabbitMQ"
    seconds: ClassVar[tuple[float, float]] = (2.0, 5.0)
    to_heal = True
    short_of: ClassVar[Resource] = "memory"

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._alarm = AsyncExitStack()

    async def inject(self) -> str:
        await self._alarm.enter_async_context(self.world.rabbitmq.alarm(self.short_of))
        return "RabbitMQ"

    async def heal(self) -> None:
        await self._alarm.aclose()


class DiskAlarm(MemoryAlarm):
    """The same for want of disk: an alarm of its own, which its own limit raises and ends."""

    name = "RabbitMQ disk alarm"
    short_of = "disk"


class ConnectionsCut(Fault):
    """Every connection to it is reset at once."""

    name = "broker connections cut"
    server = "RabbitMQ"

    async def inject(self) -> str:
        return f"{self.world.broker_network.cut()} connections"


FAULTS = (Killed, Frozen, Wiped, MemoryAlarm, DiskAlarm, ConnectionsCut)
