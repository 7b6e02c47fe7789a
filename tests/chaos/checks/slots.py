"""Plans: what is counted for a tenant, and what runs of it, at any moment and anywhere."""

from __future__ import annotations

import collections
import json
from collections.abc import Iterator

from chaos.evidence import Evidence


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
    for execution in evidence.executions:
        tenant = execution.document[0].partition(".")[0]
        for begin, end in execution.spans:
            events += [(begin, 1, tenant), (end, -1, tenant)]
    running: collections.Counter[str] = collections.Counter()
    for at, change, tenant in sorted(events):
        running[tenant] += change
        if running[tenant] > limits[tenant]:
            yield f"{running[tenant]} documents of {tenant} ran at {at:.2f}, {limits[tenant]} are allowed"
