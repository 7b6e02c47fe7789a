"""Which ends of a worker's stream prove that the worker has fenced itself."""

from __future__ import annotations

import pytest

from doctrain_coordinator.core.stream_end import StreamEnd, shortens_the_lease


def test_a_stream_that_its_worker_closed_without_a_word_shortens_the_lease() -> None:
    assert shortens_the_lease(StreamEnd.CLOSED, spoken=True, draining=False)


@pytest.mark.parametrize("end", [end for end in StreamEnd if end is not StreamEnd.CLOSED])
def test_an_end_of_another_kind_proves_nothing(end: StreamEnd) -> None:
    assert not shortens_the_lease(end, spoken=True, draining=False)


def test_a_worker_that_may_not_have_its_welcome_works_on_elsewhere() -> None:
    assert not shortens_the_lease(StreamEnd.CLOSED, spoken=False, draining=False)


def test_a_coordinator_that_drains_ends_its_streams_itself() -> None:
    assert not shortens_the_lease(StreamEnd.CLOSED, spoken=True, draining=True)
