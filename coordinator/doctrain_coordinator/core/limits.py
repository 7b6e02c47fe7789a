"""How many documents at once a tenant may have now, and why that many."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    """A tenant's, in documents at once.

    Args:
        slots: what holds now.
        allowed: what its plan allows now by itself; another number than ``slots`` where an operator ordered something.
        guaranteed: what its plan always allows by itself.
        burst: what its plan allows at most.
    """

    slots: int
    allowed: int
    guaranteed: int
    burst: int

    @property
    def ordered(self) -> bool:
        """Whether an operator's order decides."""
        return self.slots != self.allowed

    @property
    def reason(self) -> str:
        """Why it is what it is; empty where it is the plan's one number."""
        if self.ordered:
            return f"An operator of the mesh set that; the plan itself allows {self.allowed:,} now."
        if self.burst == self.guaranteed:
            return ""
        if self.allowed > self.guaranteed:
            return f"The plan guarantees {self.guaranteed:,}; more are allowed while the machines bear it, up to {self.burst:,}."
        return f"The plan guarantees them; up to {self.burst:,} are allowed while work waits and the machines bear it."
