"""Wall clocks that jump while the process runs, and jump back."""

from __future__ import annotations

from typing import ClassVar

from chaos import clocks
from chaos.faults.fault import Fault
from chaos.world import World


class Jumps(Fault):
    """A part's wall clock is off by minutes to days, either way, for a while."""

    name = "wall clock jumps"
    seconds: ClassVar[tuple[float, float]] = (2.5, 5.0)
    to_heal = True
    _part = ""

    @classmethod
    def impossible(cls, world: World) -> str:
        return "" if clocks.faketime() else "libfaketime is not installed; `make setup-test` installs it"

    async def inject(self) -> str:
        self._part = self.draw.choice(list(self.world.fleet.posts))
        offset = self.draw.choice((-86_400, -3_600, -60, 60, 3_600, 86_400))
        clocks.set_offset(self.world.folder, self._part, offset)
        return f"{self._part} by {offset:+d} s"

    async def heal(self) -> None:
        clocks.set_offset(self.world.folder, self._part, 0)


FAULTS = (Jumps,)
