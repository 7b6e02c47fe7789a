"""Acks on the wire, and what is left when nothing moves any more."""

from __future__ import annotations

from collections.abc import Iterator

from chaos.evidence import Evidence

_DISPATCHED, _HELD, _LIVE = 1, (2, 3), 1


def acks_follow_commits(evidence: Evidence) -> Iterator[str]:
    """No message was acked that its shard still needed."""
    for line in evidence.of("acks"):
        row = line["row"]
        if row is None or row["number"] != line["number"]:
            continue
        if row["state"] == _DISPATCHED:
            yield f"{line['worker']} acked ({line['shard']}, {line['number']}) before its begin"
        # An older session of that name is another holder: a restarted worker rightly drops what its forerunner holds still.
        if row["state"] in _HELD and row["worker_id"] == line["worker"] and row["session_state"] == _LIVE and row["newest"]:
            yield f"{line['worker']} acked ({line['shard']}, {line['number']}) while it held the shard"


def nothing_is_left(evidence: Evidence) -> Iterator[str]:
    """Empty queues, no shard in flight, one session a worker, everybody registered once."""
    rest = evidence.rest
    for what in ("in_flight", "queue", "dead", "unsettled"):
        if rest[what]:
            yield f"{what}: {rest[what]}"
    parts = {line["part"] for line in evidence.of("boots")}
    workers = {part: 1 for part in parts if part.startswith("worker")}
    if rest["live"] != workers:
        yield f"live sessions: {rest['live']}"
    if rest["registered"] != sorted(parts):
        yield f"registered: {rest['registered']}"
    for row in evidence.database["shards"]:
        if row["state"] not in (4, 5):
            yield f"shard {row['id']} is left in state {row['state']}"
