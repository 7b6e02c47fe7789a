"""What a main process leaves behind for the next one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from doctrain_worker.sandbox.shared.memory import FenceMemory, Predecessor

SECRET, OTHER = bytes(range(16)), bytes(range(100, 116))


@pytest.fixture
def memory() -> Iterator[FenceMemory]:
    made = FenceMemory.create()
    yield made
    made.close()


def test_a_session_that_was_not_fenced_died_and_its_secret_goes_to_the_next(memory: FenceMemory) -> None:
    memory.note_session(7, SECRET)
    memory.deadline_ns = 9
    assert not memory.predecessor.session
    memory.hand_down()
    assert memory.predecessor == Predecessor(7, self_fenced=False, secret=SECRET)
    assert memory.deadline_ns == 0
    memory.hand_down()  # the next one died before it had a session
    assert memory.predecessor == Predecessor(7, self_fenced=False, secret=SECRET)


def test_a_session_that_fenced_itself_is_nobodys_fault_until_the_next_one(memory: FenceMemory) -> None:
    memory.note_session(7, SECRET)
    memory.note_self_fenced()
    memory.note_self_fenced()
    memory.hand_down()
    assert memory.predecessor == Predecessor(7, self_fenced=True, secret=SECRET)
    memory.note_session(8, OTHER)
    memory.hand_down()
    assert memory.predecessor == Predecessor(8, self_fenced=False, secret=OTHER)


def test_without_a_session_there_is_no_predecessor(memory: FenceMemory) -> None:
    memory.note_self_fenced()
    memory.hand_down()
    assert memory.predecessor == Predecessor(0, self_fenced=False, secret=bytes(16))


def test_a_secret_stands_in_no_log(memory: FenceMemory) -> None:
    memory.note_session(7, b"0123456789abcdef")
    memory.hand_down()
    assert "0123456789abcdef" not in repr(memory.predecessor)
