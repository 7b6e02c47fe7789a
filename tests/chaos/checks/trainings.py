"""What clients were told, against what stands in the end."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from typing import Any

from chaos.evidence import Evidence

_CANCELLED = 6
_ENDED = {3, 4, 5, _CANCELLED}
_PASSING = {"UnavailableError", "CallTimeoutError"}


def none_is_lost(evidence: Evidence) -> Iterator[str]:
    """Every accepted training ended, with all its documents."""
    if not evidence.finished:
        yield f"not every training ended in time: {evidence.rest['unfinished']}"
    for name, order in evidence.accepted.items():
        row = evidence.trainings.get(name)
        if row is None:
            yield f"{name} was accepted and does not exist"
            continue
        if row["state"] not in _ENDED:
            yield f"{name} is in state {row['state']}: {row['completed']} + {row['failed']} of {row['total']}"
        rows = evidence.documents[row["id"]]
        done, failed, still_open = (sum(document["state"] == state for document in rows) for state in (1, 2, 0))
        if (row["completed"], row["failed"]) != (done, failed):
            yield f"{name} counts {row['completed']} + {row['failed']}, its documents say {done} + {failed}"
        cancelled = row["state"] == _CANCELLED
        # A manifest that was cancelled while it loaded has fewer.
        if len(rows) != row["total"] or (not cancelled and row["total"] != order["count"]):
            yield f"{name} has {len(rows)} documents, a total of {row['total']}, and was given {order['count']}"
        if still_open and not cancelled:
            yield f"{name} ended with {still_open} open documents"


def cancels_stand(evidence: Evidence) -> Iterator[str]:
    """What a cancel was answered with is how the training stands."""
    for line in evidence.of("cancels"):
        row = evidence.trainings.get(line["training"])
        if row is None or row["state"] != line["state"]:
            yield f"the cancel of {line['training']} was answered {line['state']}, it stands at {row and row['state']}"
    answered = {line["training"] for line in evidence.of("cancels")}
    failed = {line["training"] for line in evidence.of("failures") if line["call"] == "cancel"}
    for name, row in evidence.trainings.items():
        if row["state"] == _CANCELLED and name not in answered | failed:
            yield f"{name} is cancelled, which nobody asked for"


def repeats_find_the_same(evidence: Evidence) -> Iterator[str]:
    """A StartTraining that was repeated started nothing."""
    for line in evidence.of("repeats"):
        if not line["existed"]:
            yield f"a repeated start of {line['training']} started another"
    for name in evidence.trainings.keys() - evidence.accepted.keys():
        yield f"{name} exists and was never accepted"


def watches_never_fall_and_end_with_the_truth(evidence: Evidence) -> Iterator[str]:
    """Counts and versions rise a watcher, but for another reason to wait; the last update is the row."""
    last: dict[tuple[str, str], dict[str, Any]] = {}
    for line in evidence.of("updates"):
        key = line["training"], line["watcher"]
        before = last.get(key)
        last[key] = line
        if before is None:
            continue
        if line["version"] < before["version"] or (line["version"] == before["version"] and line["waiting"] == before["waiting"]):
            yield f"a watch of {key[0]} went from version {before['version']} to {line['version']}"
        if line["completed"] < before["completed"] or line["failed"] < before["failed"]:
            yield f"counts of {key[0]} fell from {_counts(before)} to {_counts(line)}"
    finals = collections.defaultdict(list)
    for (training, watcher), line in last.items():
        finals[training, watcher.rstrip("+")].append(line)
    for (training, _), lines in finals.items():
        row, line = evidence.trainings.get(training), max(lines, key=lambda line: line["version"])
        if evidence.finished and row is not None and (row["state"], *_counts(row)) != (line["state"], *_counts(line)):
            yield f"the last update of {training} says {line['state']} {_counts(line)}, it stands at {row['state']} {_counts(row)}"


def _counts(line: dict[str, Any]) -> tuple[int, int, int]:
    return line["total"], line["completed"], line["failed"]


def calls_fail_only_in_ways_to_be_repeated(evidence: Evidence) -> Iterator[str]:
    """No client ever got an error that it could not simply try again."""
    for line in evidence.of("failures"):
        if line["kind"] not in _PASSING:
            yield f"{line['call']} of {line['training']}: {line['kind']} {line['status']} {line['reason']}: {line['sentence']}"
