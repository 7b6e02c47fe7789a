"""Which shards a heartbeat may leave unnamed without their being lost."""

from __future__ import annotations

from doctrain_coordinator.core.asked_shards import AskedShards


def test_a_shard_whose_begin_is_not_answered_need_not_be_named_however_long_that_takes() -> None:
    asked = AskedShards()
    asked.ask(7)
    assert [asked.unnamed(asked.heartbeat()) for _ in range(5)] == [{7}] * 5


def test_a_heartbeat_may_have_been_sent_before_the_answer_came() -> None:
    asked = AskedShards()
    first = asked.heartbeat()
    asked.ask(7)
    asked.answered(7)
    assert asked.unnamed(first) == {7}
    assert asked.unnamed(asked.heartbeat()) == {7}, "it may have crossed the answer"
    assert asked.unnamed(asked.heartbeat()) == set(), "it was sent after the answer came, or the answer is lost"


def test_a_shard_that_is_asked_for_again_is_asked_for_lately() -> None:
    asked = AskedShards()
    asked.ask(7)
    asked.answered(7)
    for _ in range(3):
        asked.heartbeat()
    asked.ask(7)
    assert asked.unnamed(asked.heartbeat()) == {7}


def test_a_heartbeat_that_is_answered_late_still_knows_what_was_asked_for_then() -> None:
    asked = AskedShards()
    asked.ask(7)
    asked.answered(7)
    held_up = asked.heartbeat()
    asked.heartbeat()
    assert asked.unnamed(held_up) == {7}


def test_shards_of_long_ago_are_forgotten() -> None:
    asked = AskedShards()
    asked.ask(7)
    asked.answered(7)
    counts = [asked.heartbeat() for _ in range(3)]
    assert asked.unnamed(counts[0]) == set()
