"""Who waits for a child: every tenant in turn."""

from __future__ import annotations

import pytest

from doctrain_worker.core.line import Line


def test_owners_take_turns_and_their_own_come_in_order() -> None:
    line = Line[str]()
    for item in ("a1", "a2", "a3", "b1", "c1", "c2"):
        line.join(item[0], item)
    assert [line.next() for _ in range(4)] == ["a1", "b1", "c1", "a2"]
    line.join("b", "b2")
    assert [line.next() for _ in range(3)] == ["c2", "a3", "b2"]
    assert not line
    with pytest.raises(StopIteration):
        line.next()
