"""Long calls of one tenant do not keep those of another waiting, and end all the same: with real processes."""

from __future__ import annotations

import asyncio

import pytest

from doctrain_worker.core import fair_queue
from doctrain_worker.sandbox.main import pool as pools
from doctrain_worker.sandbox.main.link import Guardian
from doctrain_worker.sandbox.main.pool import ChildPool
from doctrain_worker.sandbox.shared import ends
from testkit import pictures, sandbox
from testkit.parsers import parsers
from testkit.sandbox import ANYTHING, SPEC, marked
from testkit.waiting import wait_until


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_queue, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(pools, "LOOK_SECONDS", 0.05)


async def of(pool: ChildPool, owner: str, seconds: float = 30.0, /, **task: object) -> object:
    """What a call of this owner answers, or how else it ends."""
    end = await pool.run(task, seconds, ANYTHING, owner=owner)
    return end.value if isinstance(end, ends.Result) else end


async def test_a_tenant_with_calls_that_never_end_does_not_keep_another_waiting(guardian: Guardian, mark: str) -> None:
    async with ChildPool.open(guardian, SPEC, 2, sandbox.shut_in()) as pool:
        loops = [asyncio.ensure_future(of(pool, "flood", do="hang", mark=mark)) for _ in range(6)]
        await wait_until(lambda: len(marked(mark)) == 2)
        assert [await of(pool, "small", do="echo", value=number) for number in range(5)] == list(range(5))
        assert not any(loop.done() for loop in loops)
        assert len(marked(mark)) <= 2, "what was put back left nothing behind"
        for loop in loops:
            loop.cancel()
        await asyncio.wait(loops)


async def test_a_call_that_is_put_back_ends_as_if_nothing_had_been(guardian: Guardian) -> None:
    async with ChildPool.open(guardian, SPEC, 2, sandbox.shut_in()) as pool:
        order: list[str] = []

        async def told(owner: str, **task: object) -> None:
            order.append(str(await of(pool, owner, **task)))

        async with asyncio.TaskGroup() as group:
            for name in ("long 1", "long 2", "long 3"):
                group.create_task(told("long", do="take", seconds=5.0, value=name))
            await wait_until(lambda: len(pool.running) == 2)
            group.create_task(told("small", do="echo", value="small"))
    assert order[0] == "small"
    assert sorted(order[1:]) == ["long 1", "long 2", "long 3"]


async def test_one_tenant_alone_has_all_children_and_is_not_disturbed(guardian: Guardian) -> None:
    async with ChildPool.open(guardian, SPEC, 2, sandbox.shut_in()) as pool, pool.calls(owner="a") as one, pool.calls(owner="a") as two:
        waiting = asyncio.ensure_future(of(pool, "a", do="pid"))
        first = [await calls.run({"do": "pid"}, 30.0, ANYTHING) for calls in (one, two)]
        await one.run({"do": "take", "seconds": 1.0, "value": ""}, 30.0, ANYTHING)
        second = [await calls.run({"do": "pid"}, 30.0, ANYTHING) for calls in (one, two)]
        assert [end.value for end in first if isinstance(end, ends.Result)] == [end.value for end in second if isinstance(end, ends.Result)]
        assert not waiting.done()
        waiting.cancel()


async def test_a_scan_that_is_put_back_is_read_to_its_end_and_no_page_of_it_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [pictures.page([f"These are words of page {number}"]) for number in range(1, 11)]
    scan = pictures.saved(pages[0], "TIFF", pages[1:])
    recognised = asyncio.Event()
    monkeypatch.setattr(fair_queue, "PATIENCE_SECONDS", 0.0)
    async with parsers() as reader:
        long = asyncio.ensure_future(reader.read(scan, "scan.tif", tenant=1, recognised=recognised))
        await recognised.wait()
        short = await reader.read(b"Short words.", "short.txt", tenant=2)
        assert not long.done()
        found = await long
    assert short.text == "Short words."
    assert [(one.first_page, one.last_page) for one in found.slices] == [(1, 4), (5, 8), (9, 10)]
    assert int(found.facts["extract"]["pages_kept"]) >= 4
    assert [found.text.count(f"words of page {number}\n") for number in range(1, 10)] == [1] * 9
