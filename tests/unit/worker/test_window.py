"""Which documents of a shard may start, and when."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from doctrain_worker.core.window import Window


def drained(window: Window, now: float) -> list[int]:
    taken = []
    while (ordinal := window.take(now)) is not None:
        taken.append(ordinal)
    return taken


def test_ordinals_are_handed_out_once_in_order() -> None:
    window = Window([3, 4, 7])
    assert drained(window, 0.0) == [3, 4, 7]
    assert window.empty


def test_a_retry_waits_until_it_is_due_and_then_goes_first() -> None:
    window = Window([0, 1, 2])
    assert window.take(0.0) == 0
    window.retry(0, due=5.0)
    assert window.take(1.0) == 1
    assert window.next_due == 5.0
    assert window.take(5.0) == 0
    assert drained(window, 5.0) == [2]
    assert window.empty


def test_a_window_is_not_empty_while_a_retry_waits() -> None:
    window = Window([0])
    assert window.take(0.0) == 0
    window.retry(0, due=5.0)
    assert not window.empty
    assert window.take(4.9) is None


class Windows(RuleBasedStateMachine):
    """Against lists: what is fresh, what waits for a retry, what is out."""

    @initialize(ordinals=st.sets(st.integers(0, 50), max_size=12))
    def begin(self, ordinals: set[int]) -> None:
        self.fresh = sorted(ordinals)
        self.window = Window(tuple(self.fresh))
        self.waiting: dict[int, float] = {}
        self.out: set[int] = set()
        self.now = 0.0

    @rule(seconds=st.floats(0, 3))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def take(self) -> None:
        due = [ordinal for ordinal, at in self.waiting.items() if at <= self.now]
        ordinal = self.window.take(self.now)
        if due:
            assert ordinal in due
            assert self.waiting[ordinal] == min(self.waiting[other] for other in due)
            del self.waiting[ordinal]
        elif self.fresh:
            assert ordinal == self.fresh.pop(0)
        else:
            assert ordinal is None
            return
        self.out.add(ordinal)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), pause=st.floats(0, 5))
    def retry(self, data: st.DataObject, pause: float) -> None:
        ordinal = data.draw(st.sampled_from(sorted(self.out)))
        self.out.discard(ordinal)
        self.waiting[ordinal] = self.now + pause
        self.window.retry(ordinal, self.now + pause)

    @invariant()
    def it_knows_what_is_left(self) -> None:
        if not hasattr(self, "window"):
            return
        due = [at for at in self.waiting.values() if at <= self.now]
        assert self.window.ready(self.now) == bool(self.fresh or due)
        assert self.window.empty == (not self.fresh and not self.waiting)
        assert self.window.next_due == min(self.waiting.values(), default=None)


TestWindows = Windows.TestCase
TestWindows.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
