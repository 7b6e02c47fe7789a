"""The processes themselves: how they ended, what they took, what they logged, and that work went on."""

from __future__ import annotations

import collections
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from chaos.evidence import Evidence
from chaos.world import LEASE_SECONDS
from doctrain_coordinator.dispatch.dispatcher import POLL_SECONDS
from doctrain_coordinator.tracking.lost_sessions import SETTLED_SECONDS

TAKE_BACK_SECONDS = 2 * POLL_SECONDS + SETTLED_SECONDS + 1.0
"""Its last beat is seen a poll late, and its lapse, too; who is to blame may have to be waited for (docs/adr/0007), and what blocks a
take-back is ended. What the machine stood still for comes on top."""

_MOST = {
    # Resident memory in MiB, descriptors, threads, children. A worker's main process tries its sandbox when it starts.
    "coordinator": (450, 250, 80, 0),
    "worker-main": (450, 250, 80, 1),
    "guardian": (60, 60, 2, 12),
    "sandbox.child": (200, 60, 10, 0),
}
_MIB = 1 << 20
_STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ ")
_LIBRARIES = re.compile(r"WARNING (aiormq\.connection|asyncpg\.pool):")


def they_end_when_told_to(evidence: Evidence) -> Iterator[str]:
    """No part ended by itself; at the end all left in order."""
    for line in evidence.of("exits"):
        if not line["ordered"]:
            yield f"{line['part']} ended by itself with status {line['code']}"
    for line in evidence.of("ends"):
        for part, code in line.items():
            if part != "at" and code != 0:
                yield f"{part} was asked to go and {'had to be killed' if code is None else f'ended with status {code}'}"


def they_stay_small(evidence: Evidence) -> Iterator[str]:
    """Memory, descriptors, threads and children of every process, at every look."""
    worst: dict[tuple[str, str], list[float]] = {}
    for line in evidence.of("processes"):
        seen = [line["rss"] / _MIB, line["fds"], line["threads"], line["children"]]
        before = worst.get((line["part"], line["kind"]), [0.0] * 4)
        worst[line["part"], line["kind"]] = list(map(max, before, seen))
    for (part, kind), seen in worst.items():
        for what, most, found in zip(("MiB", "descriptors", "threads", "children"), _MOST.get(kind, (1e9,) * 4), seen, strict=True):
            if found > most:
                yield f"{kind} of {part} had {found:.0f} {what}, {most} are allowed"


def nothing_unforeseen_in_their_logs(evidence: Evidence) -> Iterator[str]:
    """No stack trace but those that two libraries log themselves when a connection is lost: every fault here is foreseen."""
    traces: collections.Counter[str] = collections.Counter()
    for file in sorted(evidence.folder.glob("*.log")):
        for record in _records(file.read_text(errors="replace").splitlines()):
            if "Traceback (most recent call last)" in "".join(record) and not _LIBRARIES.search(record[0]):
                traces[f"{file.name}: {record[0][:160]} ... {record[-1][:200]}"] += 1
    for trace, times in traces.items():
        yield f"{times} times {trace}"


def _records(lines: Sequence[str]) -> Iterator[list[str]]:
    """A log's lines, each with those that belong to it; what no logger wrote is a record of its own."""
    record: list[str] = []
    for line in lines:
        if _STAMP.match(line) or line.startswith(("Traceback", "  + Exception Group", "doctrain guardian")):
            chained = line.startswith("Traceback") and record and _STAMP.match(record[0])
            if record and not chained:
                yield record
                record = []
        record.append(line)
    if record:
        yield record


def frozen_workers_are_taken_back(evidence: Evidence) -> Iterator[str]:
    """A worker that stood still for longer than its lease has no session left before it wakes, whatever it was doing."""
    samples = evidence.of("samples")
    for fault in evidence.of("faults"):
        if "past its lease" not in fault["kind"] or not fault["alone"]:
            continue
        allowed = LEASE_SECONDS + TAKE_BACK_SECONDS + _standstill(samples, fault["made"], fault["healed"])
        late = fault["made"] + allowed
        if fault["healed"] < late:
            continue
        before = [json.loads(line["live"]).get(fault["victim"]) for line in samples if line["at"] < fault["made"]]
        after = [json.loads(line["live"]).get(fault["victim"]) for line in samples if late < line["asked"] and line["at"] < fault["healed"]]
        if before and before[-1] is not None and before[-1] in after:
            yield f"session {before[-1]} of {fault['victim']} was live {allowed:.1f} s after it froze"


def _standstill(samples: Sequence[dict[str, Any]], since: float, until: float) -> float:
    """The longest time without a sample between two moments: the sampler asks for one ten times a second, if the machine lets it."""
    asked: list[float] = [since, *(line["asked"] for line in samples if since < line["asked"] < until), until]
    return max(after - before for before, after in itertools.pairwise(asked))


def work_goes_on_after_each_fault(evidence: Evidence) -> Iterator[str]:
    """Something was recorded within a minute of every heal or kill."""
    for line in evidence.of("faults"):
        if line["recovery"] is None:
            yield f"nothing was recorded within a minute after: {line['kind']} ({line['victim']})"
