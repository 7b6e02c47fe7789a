"""What a main process leaves behind for the next one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from doctrain_worker.sandbox.memory import FenceMemory, Predecessor, predecessor


@pytest.fixture
def memory() -> Iterator[FenceMemory]:
    made = FenceMemory.create()
    yield made
    made.close()


def test_a_session_that_was_not_fenced_died(memory: FenceMemory) -> None:
    memory.session = 7
    assert predecessor(str(memory.session)) == Predecessor(7, self_fenced=False)


def test_a_session_that_fenced_itself_is_nobodys_fault_until_the_next_one(memory: FenceMemory) -> None:
    memory.session = 7
    memory.note_self_fenced()
    memory.note_self_fenced()
    assert predecessor(str(memory.session)) == Predecessor(7, self_fenced=True)
    memory.session = 8
    assert predecessor(str(memory.session)) == Predecessor(8, self_fenced=False)


def test_without_a_session_there_is_no_predecessor(memory: FenceMemory) -> None:
    memory.note_self_fenced()
    assert predecessor(str(memory.session)) == predecessor("") == Predecessor(0, self_fenced=False)
