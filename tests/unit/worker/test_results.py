"""Results of a shard as columns."""

from __future__ import annotations

import random

from doctrain_worker.core.results import FailedResult, Results


def test_nothing_gathered_makes_empty_columns() -> None:
    columns = Results().take()
    assert (columns.count, columns.started, columns.took) == (0, [], [])


def test_a_run_of_documents_fills_its_columns() -> None:
    results = Results()
    for ordinal in (5, 6, 7):
        results.add(ordinal, ordinal * 10, ordinal)
    columns = results.take()
    assert (columns.first, columns.started, columns.took, columns.count) == (5, [50, 60, 70], [5, 6, 7], 3)


def test_places_without_a_result_are_marked() -> None:
    results = Results()
    results.add(9, 90, 9)
    results.add(6, 60, 6)
    columns = results.take()
    assert (columns.first, columns.started, columns.took) == (6, [60, -1, -1, 90], [6, 0, 0, 9])


def test_any_order_gives_the_same_columns() -> None:
    ordinals = list(range(100, 140))
    random.Random(7).shuffle(ordinals)
    results = Results()
    for ordinal in ordinals:
        results.add(ordinal, ordinal, 1)
    columns = results.take()
    assert columns.started == list(range(100, 140))


def test_taking_starts_over_and_keeps_what_was_taken() -> None:
    results = Results()
    results.add(1, 10, 1)
    results.fail(FailedResult(1, 2, "ENCRYPTED", "It is encrypted."))
    results.tried(1, 3)
    first = results.take()
    results.add(2, 20, 2)
    assert len(results) == 1
    assert [f.ordinal for f in first.failed] == [1]
    assert first.tries == [(1, 3)]
    assert first.started == [10]
    assert results.take().failed == []
