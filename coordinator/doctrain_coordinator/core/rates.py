"""How often something may happen: a bucket of tokens that fills at an even rate, from which each happening takes one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Bucket:
    """Full at first. ``tokens`` are those that were there at the time ``filled``, in seconds of any clock that does not go back."""

    tokens: float
    filled: float

    def take(self, now: float, *, a_second: float, most: float) -> float:
        """Takes a token and answers 0; or answers in how many seconds there will be one.

        What a bucket holds and how fast it fills may differ from one time to the next.
        """
        self.tokens = min(most, self.tokens + max(0.0, now - self.filled) * a_second)
        self.filled = now
        if self.tokens >= 1:
            self.tokens -= 1
            return 0.0
        return (1 - self.tokens) / a_second
