"""What a server's own settings endanger is told."""

from __future__ import annotations

import pytest

from doctrain_server.doctor.database import judge
from doctrain_server.doctor.finding import Verdict

SAFE = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "server_encoding": "UTF8",
    "server_version_num": "180000",
    "max_connections": "100",
    "statement_timeout": "0",
    "transaction_timeout": "0",
    "lock_timeout": "0",
}


def test_a_safe_server_has_nothing_to_be_told() -> None:
    assert all(finding.verdict is Verdict.OK for finding in judge(SAFE, in_recovery=False))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fsync", "off"),
        ("full_page_writes", "off"),
        ("synchronous_commit", "off"),
        ("default_transaction_isolation", "serializable"),
        ("default_transaction_read_only", "on"),
        ("server_encoding", "SQL_ASCII"),
        ("server_version_num", "130005"),
        ("max_connections", "20"),
        ("statement_timeout", "5000"),
        ("lock_timeout", "100"),
    ],
)
def test_an_unsafe_setting_is_named_with_its_danger(name: str, value: str) -> None:
    (bad,) = [finding for finding in judge({**SAFE, name: value}, in_recovery=False) if finding.verdict is Verdict.BAD]
    assert bad.subject == name
    assert bad.sentence.startswith(f"Is {value}. ")


def test_a_standby_records_nothing() -> None:
    (bad,) = [finding for finding in judge(SAFE, in_recovery=True) if finding.verdict is Verdict.BAD]
    assert bad.subject == "default_transaction_read_only"
