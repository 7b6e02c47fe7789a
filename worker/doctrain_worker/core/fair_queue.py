"""Who has one of a few children next, and which turn ends early for one who waits: by the time that each owner has had. Pure.

A fair queue by virtual time. An owner is charged for a turn while it lasts and anybody waits: what nobody else wanted is free. Of those
who wait the one that was charged least is next. Who begins to wait begins at the least of those who wait already, so nobody saves up
for later what others had meanwhile; who was charged more keeps that until the others have caught up, so nobody sheds it by leaving.
With ``places`` turns at once and none longer than L, two owners who both wait all the time are never further apart than ``places * L``.

Order alone does not help while all turns are long. So a turn that has lasted for ``PATIENCE_SECONDS`` is **put back** for an owner who has
none and has waited as long: it is to be ended and to begin anew in its turn. Of turns that began anew, the ``places - 1`` that
began first (with one place, that one) are left in peace: so each place but one may be held by long work until that ends, and one place
comes to whoever waits.

Times are seconds of one clock, passed in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

PATIENCE_SECONDS = 5.0


@dataclass(eq=False, slots=True)
class Turn:
    """What an owner has since ``began``, when the line's clock showed ``clock``.

    ``anew``: an earlier turn for the same work was put back; ``put_back``: this one is.
    """

    owner: Hashable
    began: float
    clock: float
    anew: bool = False
    put_back: bool = False


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[T]):
    item: T
    since: float
    anew: bool


@dataclass(slots=True)
class _Owner(Generic[T]):
    """By the line's clock ``had``: seconds of turns that ended; of those that last, how many they are and when they began, all together."""

    had: float = 0.0
    turns: int = 0
    began: float = 0.0
    queue: deque[_Waiting[T]] = field(default_factory=deque)
    patient: deque[_Waiting[T]] = field(default_factory=deque)

    def seconds(self, clock: float) -> float:
        return self.had + self.turns * clock - self.began

    @property
    def waits(self) -> bool:
        return bool(self.queue or self.patient)


class FairQueue(Generic[T]):
    """The turns, ``places`` at most, and who waits for one. False while nobody waits."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._owners: dict[Hashable, _Owner[T]] = {}
        self._turns: dict[Turn, None] = {}
        self._waiting = 0
        self._clock = self._looked_at = 0.0

    def __bool__(self) -> bool:
        return self._waiting > 0

    @property
    def is_full(self) -> bool:
        """Whether there are as many turns as there may be."""
        return len(self._turns) >= self._places

    def begin(self, owner: Hashable, now: float, *, anew: bool = False) -> Turn:
        """The owner has a turn from now on, of a place for which nobody waits."""
        self._come(owner, now)
        return self._begun(owner, now, anew)

    def join(self, owner: Hashable, item: T, now: float, *, patient: bool = False, anew: bool = False) -> None:
        """Waits behind all others of the same owner; ``patient``: and behind all who are not."""
        own = self._come(owner, now)
        (own.patient if patient else own.queue).append(_Waiting(item, now, anew))
        self._waiting += 1

    def leave(self, owner: Hashable, item: T, now: float) -> None:
        """Waits no more, if it did."""
        self._passed(now)
        own = self._owners.get(owner, _Owner[T]())
        for line in (own.queue, own.patient):
            found = next((one for one in line if one.item is item), None)
            if found is not None:
                line.remove(found)
                self._waiting -= 1
        self._forget()

    def next(self, now: float) -> tuple[T, Turn]:
        """Takes out who is next, whose turn begins. Raises LookupError while nobody waits."""
        self._passed(now)
        owner, line = self._first()
        found = line.popleft()
        self._waiting -= 1
        return found.item, self._begun(owner, now, found.anew)

    def end(self, turn: Turn, now: float) -> None:
        """The turn is over."""
        clock = self._passed(now)
        del self._turns[turn]
        own = self._owners[turn.owner]
        own.had, own.turns, own.began = own.had + clock - turn.clock, own.turns - 1, own.began - turn.clock
        if not own.turns and not own.waits:
            self._forget()

    def seconds(self, owner: Hashable, now: float) -> float:
        """What the owner was charged, turns that last included."""
        clock = self._passed(now)
        return self._owners[owner].seconds(clock) if owner in self._owners else 0.0

    def to_put_back(self, now: float) -> Turn | None:
        """A turn that is to end for who is next, if there is one: of the owner that had most, the one of which least is lost."""
        if not self or not self.is_full or any(turn.put_back for turn in self._turns):
            return None
        clock = self._passed(now)
        owner, line = self._first()
        own = self._owners[owner]
        if line is own.patient or now - line[0].since < PATIENCE_SECONDS or own.turns:
            return None
        in_peace = [turn for turn in self._turns if turn.anew][: max(1, self._places - 1)]
        long = [turn for turn in self._turns if turn not in in_peace and now - turn.began >= PATIENCE_SECONDS]
        return max(long, key=lambda turn: (self._owners[turn.owner].seconds(clock), turn.began), default=None)

    def _passed(self, now: float) -> float:
        """The line's clock, which stands still while nobody waits."""
        if self._waiting:
            self._clock += now - self._looked_at
        self._looked_at = now
        return self._clock

    def _begun(self, owner: Hashable, now: float, anew: bool) -> Turn:
        turn = Turn(owner, now, self._clock, anew)
        self._turns[turn] = None
        own = self._owners[owner]
        own.turns, own.began = own.turns + 1, own.began + self._clock
        return turn

    def _come(self, owner: Hashable, now: float) -> _Owner[T]:
        """One who did not wait is charged no less than the least of those who do."""
        clock, own = self._passed(now), self._owners.get(owner)
        if own is None or not own.waits:
            least = self._least()
            own = self._owners.setdefault(owner, own or _Owner())
            own.had += max(0.0, least - own.seconds(clock))
        return own

    def _forget(self) -> None:
        """Owners who are gone, once the others were charged as much."""
        gone = [owner for owner, own in self._owners.items() if not own.turns and not own.waits]
        if len(gone) == len(self._owners):
            self._owners.clear()
        elif gone:
            least = self._least()
            for owner in gone:
                if self._owners[owner].had <= least:
                    del self._owners[owner]

    def _least(self) -> float:
        """What was charged to the least of those who wait, or else of those who have turns."""
        waiting = self._waiting > 0
        return min((own.seconds(self._clock) for own in self._owners.values() if (own.waits if waiting else own.turns)), default=0.0)

    def _first(self) -> tuple[Hashable, deque[_Waiting[T]]]:
        """Who was charged least, of those who are not patient if there are such; then who has fewest turns; then who came first."""
        lines = [(owner, own, own.queue) for owner, own in self._owners.items() if own.queue]
        lines = lines or [(owner, own, own.patient) for owner, own in self._owners.items() if own.patient]
        if not lines:
            raise LookupError("Nobody waits.")
        owner, _, line = (
            min(lines, key=lambda one: (one[1].seconds(self._clock), one[1].turns, one[2][0].since)) if len(lines) > 1 else lines[0]
        )
        return owner, line
