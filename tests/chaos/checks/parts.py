"""The processes themselves: how they ended, what they took, what they logged, and that work went on."""

from __future__ import annotations

import collections
from collections.abc import Iterator

from chaos.evidence import Evidence

_MOST = {
    # Resident memory in MiB, descriptors, threads, children.
    "coordinator": (450, 250, 80, 0),
    "worker-main": (450, 250, 80, 0),
    "guardian": (60, 60, 2, 12),
    "sandbox.child": (200, 60, 10, 0),
}
_MIB = 1 << 20


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
    """No stack trace: every fault here is one that the code foresees."""
    traces: collections.Counter[str] = collections.Counter()
    for file in sorted(evidence.folder.glob("*.log")):
        lines = file.read_text(errors="replace").splitlines()
        for place, line in enumerate(lines):
            if line.startswith("Traceback (most recent call last)"):
                end = next((n for n in range(place + 1, len(lines)) if lines[n] and not lines[n].startswith(" ")), place)
                traces[f"{file.name}: {lines[place - 1][:160] if place else ''} … {lines[end][:200]}"] += 1
    for trace, times in traces.items():
        yield f"{times} times {trace}"


def work_goes_on_after_each_fault(evidence: Evidence) -> Iterator[str]:
    """Something was recorded within a minute of every heal or kill."""
    for line in evidence.of("faults"):
        if line["recovery"] is None:
            yield f"nothing was recorded within a minute after: {line['kind']} ({line['victim']})"
