"""The telemetry collector hangs: which may cost spans, never time."""

from __future__ import annotations

from typing import ClassVar

from chaos.faults.fault import Fault


class Hangs(Fault):
    """Its connections stay open and nothing answers."""

    name = "OTLP collector hangs"
    seconds: ClassVar[tuple[float, float]] = (2.0, 6.0)
    to_heal = True

    async def inject(self) -> str:
        self.world.collector_network.rule().stall()
        return "collector"

    async def heal(self) -> None:
        self.world.collector_network.rule().heal()


FAULTS = (Hangs,)
