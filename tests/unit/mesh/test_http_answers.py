"""What a web server says of itself is read with care: it may be anybody's."""

from __future__ import annotations

from email.utils import formatdate
from time import time

import pytest

from doctrain_mesh.network.http_answers import retry_after_seconds


def told(value: str) -> float | None:
    return retry_after_seconds([(b"Retry-After", value.encode())])


def test_seconds_and_dates_are_read_and_bounded() -> None:
    assert retry_after_seconds([]) is None
    assert told(" 7 ") == 7
    assert told("9" * 20) == 300
    assert told(formatdate(time() + 100)) == pytest.approx(100, abs=5)
    assert told(formatdate(time() - 100)) == 0


@pytest.mark.parametrize(
    "value",
    [
        "soon",
        "Mon, 01 Jan 2020 00:00:00 +99999999999999999999",
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 99999999999999999999 Jan 2020 00:00:00 GMT",
        "Mon, 01 Jan 2020 99999999999999999999:00:00 GMT",
        "9" * 65,
        pytest.param("9" * 10_000, id="10,000 digits"),
    ],
)
def test_what_cannot_be_read_is_as_if_it_were_not_said(value: str) -> None:
    assert told(value) is None
