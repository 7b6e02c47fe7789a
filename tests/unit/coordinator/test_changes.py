"""When who tells of changes tells the next."""

from __future__ import annotations

import asyncio

import pytest

from doctrain_coordinator import changes
from doctrain_coordinator.changes import Bell

AGES = 3600.0


@pytest.fixture
def bell(monkeypatch: pytest.MonkeyPatch) -> Bell:
    monkeypatch.setattr(changes, "GAP_SECONDS", 0.0)
    monkeypatch.setattr(changes, "COUNTS_GAP_SECONDS", AGES)
    return Bell()


async def rests(bell: Bell) -> bool:
    """Whether it would rest for ages."""
    resting = asyncio.ensure_future(bell.rest())
    for _ in range(20):
        await asyncio.sleep(0)
    is_resting = not resting.done()
    resting.cancel()
    return is_resting


async def test_counts_that_go_on_wait_and_a_state_that_moves_does_not(bell: Bell) -> None:
    bell.ring(only_counts=True)
    assert await rests(bell)
    bell.ring()
    assert not await rests(bell)


async def test_what_is_told_is_not_told_again(bell: Bell) -> None:
    bell.ring()
    now = asyncio.get_running_loop().time()
    assert await bell.wait(now + AGES)
    assert await rests(bell)
    assert not await bell.wait(now)


async def test_a_state_that_moves_ends_a_rest(bell: Bell) -> None:
    resting = asyncio.ensure_future(bell.rest())
    await asyncio.sleep(0)
    bell.ring(only_counts=True)
    bell.ring()
    async with asyncio.timeout(20):
        await resting
