"""What a worker counts of its tries, by the minute."""

from __future__ import annotations

import pytest

from doctrain_worker.core.tally import Minute, Tally


def test_rates_are_of_the_last_minute() -> None:
    tally = Tally()
    minute = Minute(0.0, tally)
    assert minute.rates(1.0, tally).failure_share is None
    tally.done, tally.missed, tally.broken, tally.failed = 60, 20, 10, 5
    first = minute.rates(10.0, tally)
    assert first.documents_per_second == pytest.approx(6.5)
    assert (first.tries, first.failure_share) == (80, 0.125)
    for second in range(20, 200, 10):
        tally.done += 10
        last = minute.rates(float(second), tally)
    assert last.documents_per_second == pytest.approx(1.0)
    assert (last.tries, last.failure_share) == (60, 0.0)
