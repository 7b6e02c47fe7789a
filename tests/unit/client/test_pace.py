"""When a call is made again that came sooner than the plan allows."""

from __future__ import annotations

from doctrain.errors import Details
from doctrain.pace import Pace

TOO_SOON = Details(reason="QUOTA_EXCEEDED", metadata={"quota": "requests_per_second", "limit": "10"}, retry_after_seconds=0.05)


def test_calls_come_one_after_the_other_once_one_was_refused() -> None:
    pace = Pace()
    assert [pace.turn(0.0, 100.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert pace.refused(TOO_SOON, 0.0, 100.0) == 0.05
    assert [round(pace.turn(0.0, 100.0), 2) for _ in range(2)] == [0.15, 0.25], "others keep the pace, too"
    assert pace.turn(1.0, 100.0) == 0.0, "nobody waits any more"


def test_one_without_time_takes_no_turn() -> None:
    pace = Pace()
    pace.refused(TOO_SOON, 0.0, 100.0)
    assert pace.refused(TOO_SOON, 0.0, 0.1) is None
    assert round(pace.turn(0.0, 100.0), 2) == 0.15


def test_other_refusals_are_none_of_its_business() -> None:
    for details in (
        Details(reason="QUOTA_EXCEEDED", metadata={"quota": "watches", "limit": "1"}, retry_after_seconds=5.0),
        Details(reason="QUOTA_EXCEEDED"),
        Details(),
    ):
        assert Pace().refused(details, 0.0, 100.0) is None
