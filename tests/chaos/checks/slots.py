"""Plans: what is counted for a tenant, and what runs of it, at any moment and anywhere."""

from __future__ import annotations

import collections
import heapq
import json
from collections.abc import Iterator

from chaos.checks.attempts import FROZEN, THAW_SECONDS
from chaos.evidence import Evidence

_PAST_ITS_LEASE = "past its lease"


def never_counted_over_the_plan(evidence: Evidence) -> Iterator[str]:
    """In every snapshot: slots only grow by grants, so one above the plan was granted above it."""
    for line in evidence.of("samples"):
        if isinstance(line["slots"], str):
            for tenant, (used, allowed) in json.loads(line["slots"]).items():
                if used > allowed:
                    yield f"{tenant} was counted for {used} of {allowed} slots at {line['at']:.2f}"


def never_running_over_the_plan(evidence: Evidence) -> Iterator[str]:
    """By the documents' own lines, on frozen and cut-off workers too."""
    limits = {row["name"]: row["slots"] for row in evidence.database["tenants"]}
    events = []
    for begin, end, tenant in _spans(evidence):
        events += [(begin, 1, tenant), (end, -1, tenant)]
    running: collections.Counter[str] = collections.Counter()
    for at, change, tenant in sorted(events):
        running[tenant] += change
        if running[tenant] > limits[tenant]:
            yield f"{running[tenant]} documents of {tenant} ran at {at:.2f}, {limits[tenant]} are allowed"


def never_running_uncounted(evidence: Evidence) -> Iterator[str]:
    """What ran when a snapshot was asked for, and still when it was there, is counted in it.

    The snapshot is of a moment between the two, and a slot is counted from a commit before its document starts to one after the document
    has ended or its process is dead. Passed over is what no promise covers: children of a worker that was frozen whole, which go on until
    their guardian is awake as well, and a worker that freezes while its connection breaks (ADR 0010), as a fault beside it may bring about.
    """
    excused = list(_excused(evidence))
    ahead = sorted(_spans(evidence), reverse=True)
    running: list[tuple[float, float, str]] = []
    for line in sorted(evidence.of("samples"), key=lambda line: line["asked"]):
        asked, at = line["asked"], line["at"]
        while ahead and ahead[-1][0] <= asked:
            begin, end, tenant = ahead.pop()
            heapq.heappush(running, (end, begin, tenant))
        while running and running[0][0] < asked:
            heapq.heappop(running)
        if any(begin < at and asked < end for begin, end in excused):
            continue
        counted = json.loads(line["slots"])
        for tenant, count in collections.Counter(tenant for end, _, tenant in running if end >= at).items():
            used = counted.get(tenant, [0])[0]
            if count > used:
                yield f"{count} documents of {tenant} ran at {at:.2f}, where it was counted for {used} slots"


def _spans(evidence: Evidence) -> Iterator[tuple[float, float, str]]:
    """Begin, end and tenant of each time in which a document certainly ran."""
    for execution in evidence.executions:
        tenant = execution.document[0].partition(".")[0]
        for begin, end in execution.spans:
            yield begin, end, tenant


def _excused(evidence: Evidence) -> Iterator[tuple[float, float]]:
    for fault in evidence.of("faults"):
        if _PAST_ITS_LEASE in fault["kind"] and not fault["alone"]:
            yield fault["began"], fault["healed"] + THAW_SECONDS
        elif fault["kind"] == FROZEN:
            yield fault["healed"] - THAW_SECONDS, fault["healed"] + THAW_SECONDS
