"""Results of sittings, added up: how often each kind of fault fired, and how soon work went on. Markdown for people, JSON to go on from."""

from __future__ import annotations

import collections
import itertools
import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from chaos.evidence import Evidence


def result(seed: int, evidence: Evidence, broken: dict[str, list[str]], seconds: float) -> dict[str, Any]:
    """What is kept of a sitting."""
    times = [execution.document for execution in evidence.executions]
    return {
        "seed": seed,
        "seconds": round(seconds, 1),
        "trainings": len(evidence.accepted),
        "documents": sum(row["completed"] + row["failed"] for row in evidence.database["trainings"]),
        "executions": len(times),
        "sessions_lost": sum(row["state"] == 2 for row in evidence.database["sessions"]),
        "acks": len(evidence.of("acks")),
        "updates": len(evidence.of("updates")),
        "failed_calls": len(evidence.of("failures")),
        "impossible": {line["kind"]: line["reason"] for line in evidence.of("impossible")},
        "faults": [
            {
                "kind": line["kind"],
                "recovery": line["recovery"],
                "again": _again(evidence, line["victim"], line["made"]),
                "alone": line["alone"],
            }
            for line in evidence.of("faults")
        ],
        "broken": broken,
    }


def _again(evidence: Evidence, victim: str, made: float) -> float | None:
    """Seconds until a document that a worker had in hand when it was hit started again; None when there is none."""
    if not victim.startswith("worker"):
        return None
    starts = collections.defaultdict(list)
    for line in evidence.attempts:
        if made - 3 < line["monotonic"] < made + 60:
            starts[line["training_task_id"], line["ordinal"]].append(line)
    found = []
    for lines in starts.values():
        for before, after in itertools.pairwise(lines):
            if before["worker"] == victim and before["monotonic"] <= made < after["monotonic"] and after["attempt"] > before["attempt"]:
                found.append(after["monotonic"] - made)
    return round(min(found), 2) if found else None


def _spread(seconds: Iterable[float | None]) -> str:
    known = [second for second in seconds if second is not None]
    return f"{statistics.median(known):.2f} / {max(known):.2f}" if known else "-"


def fired(results: Sequence[dict[str, Any]]) -> collections.Counter[str]:
    """How often each kind did."""
    return collections.Counter(fault["kind"] for one in results for fault in one["faults"])


def markdown(results: Sequence[dict[str, Any]], kinds: Sequence[str]) -> str:
    """The report."""
    faults = [fault for one in results for fault in one["faults"]]
    counts = fired(results)
    totals = {
        name: sum(one[name] for one in results) for name in ("documents", "trainings", "executions", "sessions_lost", "acks", "updates")
    }
    lines = [
        f"{len(faults)} faults in {len(results)} sittings ({sum(one['seconds'] for one in results) / 60:.0f} minutes):"
        f" {totals['documents']:,} documents of {totals['trainings']:,} trainings recorded, {totals['executions']:,} executions,"
        f" {totals['sessions_lost']:,} sessions lost, {totals['acks']:,} acks and {totals['updates']:,} watch updates looked at.",
        "",
        "| fault | fired | recorded again after, s (median / worst) | its documents run again after, s (median / worst) |",
        "|---|---:|---:|---:|",
    ]
    impossible: dict[str, str] = {}
    for one in results:
        impossible |= one["impossible"]
    for kind in kinds:
        own = [fault for fault in faults if fault["kind"] == kind]
        count = counts[kind] or impossible.get(kind, "never")
        lines.append(f"| {kind} | {count} | {_spread(f['recovery'] for f in own)} | {_spread(f['again'] for f in own)} |")
    for one in results:
        for rule, sentences in one["broken"].items():
            lines += ["", f"**Broken with seed {one['seed']}: {rule}**", "", *(f"- {sentence}" for sentence in sentences)]
    return "\n".join(lines) + "\n"


def load(path: Path) -> list[dict[str, Any]]:
    """The sittings so far."""
    return list(json.loads(path.read_text())["sittings"]) if path.exists() else []


def save(path: Path, results: Sequence[dict[str, Any]], kinds: Sequence[str]) -> None:
    """The sittings, and the same for people beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"sittings": list(results)}, indent=1) + "\n")
    path.with_suffix(".md").write_text(markdown(results, kinds))
