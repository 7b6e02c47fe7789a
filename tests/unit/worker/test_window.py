"""Which documents of a shard may start, and when."""

from __future__ import annotations

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
