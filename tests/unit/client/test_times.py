"""Times as the command line shows them."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from doctrain.cli.times import moment


def test_a_time_is_shown_in_the_zone_of_the_machine_where_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    usual, last = Timestamp(), Timestamp()
    usual.FromDatetime(datetime(2026, 11, 28, 20, tzinfo=UTC))
    last.FromDatetime(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    try:
        assert moment(usual) == "2026-11-29 05:00:00+09:00"
        assert moment(last) == "9999-12-31 23:59:59+00:00"
    finally:
        monkeypatch.undo()
        time.tzset()
