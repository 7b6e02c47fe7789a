"""What children answer and print, with real processes: every end of a call is told apart, and nothing that they say is trusted."""

from __future__ import annotations

import asyncio
import re

import msgspec
import pytest
from msgspec.msgpack import Decoder

from doctrain_worker.sandbox.main import output
from doctrain_worker.sandbox.main.pool import ChildPool
from doctrain_worker.sandbox.shared import ends
from doctrain_worker.sandbox.shared.launch import SCRATCH_BYTES
from testkit.sandbox import ANYTHING, SPEC, act, answered, works
from testkit.waiting import wait_until


async def test_every_end_of_a_call_is_told_apart_and_the_next_call_works(pool: ChildPool) -> None:
    assert await works(pool)
    assert await act(pool, do="refuse") == ends.Refused("ENCRYPTED", "It is locked.", False)
    assert await act(pool, do="fail") == ends.Raised("LookupError", "nothing here")
    assert await act(pool, do="crash") == ends.Crashed("SIGSEGV")
    assert await act(pool, do="leave") == ends.Crashed("status 7")
    assert await act(pool, do="hog") == ends.OutOfMemory(SPEC.memory_bytes)
    assert await act(pool, do="fill") == ends.OutOfSpace(SCRATCH_BYTES)
    closed = (ends.Crashed("closed its channel"), ends.TimedOut(5.0))  # below `unshare` it is not seen: that keeps it open
    assert await act(pool, 5.0, do="close_channel") in closed
    assert await act(pool, do="send", content=b"what") == ends.NO_ANSWER
    assert await act(pool, do="large", size=SPEC.reply_bytes) == ends.TooMuchOutput(SPEC.reply_bytes)
    assert await works(pool)


async def test_what_a_child_prints_is_told_with_its_pid_and_trace(pool: ChildPool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    trace = "0af7651916cd43dd8448eb211c80319c"
    answer = await pool.run({"do": "say", "words": "first\nsecond\n\xff" + "x" * 9000}, 20.0, ANYTHING, f"00-{trace}-b7ad6b7169203331-01")
    assert isinstance(answer, ends.Result)
    await wait_until(lambda: len(caplog.messages) >= 3)
    said = [message.partition(f", trace {trace}: ") for message in caplog.messages if trace in message]
    assert [words[:10] for _, _, words in said] == ["first", "second", "ÿxxxxxxxxx"]
    assert all(re.fullmatch(r"child \d+", who) for who, _, _ in said)
    assert all(len(words) <= 500 for _, _, words in said)
    caplog.clear()
    await pool.run({"do": "say", "words": "flood\n" * 10_000}, 20.0, ANYTHING)
    await wait_until(lambda: any("says more than is kept" in message for message in caplog.messages))
    assert len(caplog.messages) < 100
    caplog.clear()
    assert await pool.run({"do": "crash"}, 20.0, ANYTHING, f"00-{trace}-b7ad6b7169203331-01") == ends.Crashed("SIGSEGV")
    await wait_until(lambda: any("Fatal Python error" in message for message in caplog.messages))
    assert all(message.startswith("child ") for message in caplog.messages)


async def test_a_child_that_prints_without_end_is_ended_and_the_event_loop_goes_on_meanwhile(pool: ChildPool) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        counting = group.create_task(count())
        assert await act(pool, do="babble") == ends.Crashed("printed without end")
        counting.cancel()
    assert turns > output.MOST_BYTES // 65_536
    assert await works(pool)


@pytest.mark.parametrize(
    "content",
    [b"\xdc\xff\xff" + b"\x90" * 65_535, b"\x91" * 100_000, b"\xa2\xff\xfe", b"\xc0"],
    ids=["a list of lists", "a deep list", "no text", "nothing"],
)
async def test_an_answer_that_is_not_what_was_asked_for_costs_the_child_and_is_not_looked_at_further(
    pool: ChildPool, content: bytes
) -> None:
    child = await answered(pool, do="named")
    assert await pool.run({"do": "answer", "content": content}, 20.0, Decoder(str)) == ends.NO_ANSWER
    assert await answered(pool, do="named") != child


async def test_words_that_are_none_cost_the_child_and_too_many_are_cut(pool: ChildPool) -> None:
    refused = await act(pool, do="refuse", sentence="x" * 5000)
    assert refused == ends.Refused("ENCRYPTED", "x" * ends.MOST_LETTERS, False)
    for content in (b"\x92\x94\x01\xa2\xff\xfe\xa0\xc2\x01", b"\x92\x94\x01\xa0\xda\xff\xff" + b"x" * 65_535 + b"\xc2\x01"):
        assert await act(pool, do="send", content=content) == ends.NO_ANSWER
    assert await works(pool)


async def test_a_refusal_is_a_constant_and_one_line_whatever_the_child_says(pool: ChildPool) -> None:
    line = "2026-11-28T12:00:00.000+00:00 INFO    doctrain_coordinator.rpc.deeds: Tenant a was deleted"
    plain = ends.Refused("OTHER", f"It is locked. {line}\ufffd[2K", False)
    assert await act(pool, do="refuse", code=f"X\n{line}", sentence=f"It is locked.\r\n{line}\x1b[2K") == plain
    for sent, end in (
        ((1, f"X\n{line}", f"It is locked.\r\n{line}\x1b[2K", False), plain),
        ((2, f"KeyError\n{line}", ""), ends.Raised(f"KeyError {line}", "")),
    ):
        assert await act(pool, do="send", content=msgspec.msgpack.encode((sent, 1, True))) == end
    assert await works(pool)


async def test_a_task_that_cannot_be_sent_costs_no_child(pool: ChildPool) -> None:
    first = await answered(pool, do="named")
    with pytest.raises(TypeError):
        await act(pool, do="echo", value=object())
    assert await answered(pool, do="named") == first
    assert all(await asyncio.gather(works(pool), works(pool), works(pool)))
