"""What a fault is: something that goes wrong, for a while or at once, and how it is put right."""

from __future__ import annotations

import random
from typing import ClassVar

from chaos.world import World


class Fault:
    """One occurrence. ``inject`` makes it and answers its victim, ``heal`` puts it right.

    Where there is nothing to heal (a killed process is started again by others), recovery is counted from the injection.
    ``server`` is the one that it works on, if any: two faults at once would kill what the other starts.
    """

    name: ClassVar[str]
    seconds: ClassVar[tuple[float, float]] = (0.0, 0.0)
    to_heal: ClassVar[bool] = False
    server: ClassVar[str] = ""

    def __init__(self, world: World, draw: random.Random) -> None:
        self.world, self.draw = world, draw

    @classmethod
    def impossible(cls, world: World) -> str:
        """Why this machine cannot have it; empty where it can."""
        return ""

    async def inject(self) -> str:
        raise NotImplementedError

    async def heal(self) -> None:
        """Puts it right."""

    async def last(self) -> float:
        """How long it is to last, in seconds."""
        return self.draw.uniform(*self.seconds)
