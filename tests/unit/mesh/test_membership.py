"""Records of the registry, which anyone may have written who can write there."""

from __future__ import annotations

import pytest

from doctrain_mesh.registry import membership

HOSTILE = {
    "empty": b"",
    "no-text": b"\xff\xfe\xfd",
    "deep": b"[" * 16_000,
    "deep-object": b'{"a":' * 3_000,
    "list": b'["address"]',
    "number": b"7",
    "nan": b"NaN",
    "digits": b"1" * 16_000,
}
WRONG_ADDRESSES = [
    "null",
    "7",
    "[]",
    "{}",
    "true",
    '"unix:/tmp/socket"',
    '"host"',
    '"host:0"',
    '"host:99999"',
    '"a:1\\n"',
    f'"{"a" * 9_999}:1"',
]


@pytest.mark.parametrize("record", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_object_is_an_error_and_nothing_worse(record: bytes) -> None:
    for reading in (membership.facts, membership.address):
        with pytest.raises(ValueError, match="it is n"):
            reading(record)


@pytest.mark.parametrize("written", WRONG_ADDRESSES)
def test_an_address_is_a_host_and_a_port(written: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        membership.address(f'{{"address": {written}}}'.encode())


@pytest.mark.parametrize("address", ["10.0.0.1:50051", "coordinator-1.mesh:1", "[::1]:65535"])
def test_a_good_one_is_read(address: str) -> None:
    assert membership.address(f'{{"address": "{address}", "name": "x"}}'.encode()) == address


def test_a_bad_record_is_told_of_once_until_it_was_good(caplog: pytest.LogCaptureFixture) -> None:
    reader = membership.Reader()
    for record in (b"7", b"8", b"{}", b"9"):
        reader.read("/doctrain/workers/odd", record, membership.facts)
    assert [entry.getMessage() for entry in caplog.records] == [
        "The registry's record '/doctrain/workers/odd' is passed over: it is not a JSON object."
    ] * 2


def test_no_number_of_bad_records_fills_the_log(caplog: pytest.LogCaptureFixture) -> None:
    reader = membership.Reader()
    for number in range(membership.MOST_TOLD + 50):
        assert reader.read(f"{number}", b"7", membership.facts) is None
    assert len(caplog.records) == membership.MOST_TOLD
