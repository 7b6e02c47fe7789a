"""What a server's own settings endanger is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from doctrain_mesh.postgres import sizes
from doctrain_server.doctor.database import Mesh, judge
from doctrain_server.doctor.finding import Verdict

ROOT = Path(__file__).parents[3]
SAFE = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "server_encoding": "UTF8",
    "server_version_num": "180000",
    "max_connections": "200",
    "statement_timeout": "0",
    "transaction_timeout": "0",
    "lock_timeout": "0",
}
MESH = Mesh(coordinators=2, workers=2, children=4)


def test_a_safe_server_has_nothing_to_be_told() -> None:
    assert all(finding.verdict is Verdict.OK for finding in judge(SAFE, MESH, in_recovery=False))


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
    (bad,) = [finding for finding in judge({**SAFE, name: value}, MESH, in_recovery=False) if finding.verdict is Verdict.BAD]
    assert bad.subject == name
    assert bad.sentence.startswith(f"Is {value}. ")


@pytest.mark.parametrize(
    ("mesh", "needed"),
    [(Mesh(coordinators=1, workers=1, children=2), 54), (Mesh(coordinators=2, workers=3, children=8), 125)],
)
def test_the_database_has_room_for_the_connections_of_everyone_who_shares_it(mesh: Mesh, needed: int) -> None:
    def verdict(connections: int) -> Verdict:
        findings = judge({**SAFE, "max_connections": str(connections)}, mesh, in_recovery=False)
        return next(finding.verdict for finding in findings if finding.subject == "max_connections")

    assert mesh.connections == needed
    assert (verdict(needed - 1), verdict(needed)) == (Verdict.BAD, Verdict.OK)


def test_the_page_on_running_a_mesh_counts_as_the_code_does() -> None:
    page = (ROOT / "docs/howto/run-a-mesh.md").read_text()
    spare = sizes.COMMAND + sizes.RESERVED
    assert f"max_connections ≥ {sizes.COORDINATOR} * coordinators + (children + {sizes.worker(0)}) * workers + {spare}\n" in page
    assert f"2 coordinators and 3 workers of 8 children need {sizes.needed(coordinators=2, workers=3, children=8)}." in page


def test_a_standby_records_nothing() -> None:
    (bad,) = [finding for finding in judge(SAFE, MESH, in_recovery=True) if finding.verdict is Verdict.BAD]
    assert bad.subject == "default_transaction_read_only"
