"""Who ran what, when, under which attempt: fencing, one holder, and how much is run again."""

from __future__ import annotations

import collections
from collections.abc import Iterator

from chaos.documents import ASSASSINS, Kind, kind_of
from chaos.evidence import Evidence

LANES, WIDTH = 4, 5
# What one lost session may have had in flight: its lanes' documents, as many of shards that had nothing left to start, and
# what ended within one report batch, which here is what three children end in 25 ms.
AGAIN_A_LOSS = 2 * LANES * WIDTH + 8
FROZEN, THAW_SECONDS = "worker frozen whole past its lease", 0.5
"""What a child does between its thaw and its guardian's, which kills it: nothing of it is recorded."""
SLACK_SECONDS = 0.02
"""A line in a log is written a moment before or after what it tells of."""


def they_increase(evidence: Evidence) -> Iterator[str]:
    """Once a shard was begun under a number, nothing of it starts under an earlier one."""
    shards = evidence.shard_of()
    highest: dict[int, tuple[int, float]] = {}
    for line in evidence.attempts:
        shard = shards.get((line["training_task_id"], line["ordinal"]))
        if shard is None:
            yield f"{line['training_task_id']} {line['ordinal']} ran and is in no shard"
            continue
        number, at = highest.get(shard, (0, 0.0))
        if line["attempt"] > number:
            highest[shard] = line["attempt"], line["monotonic"]
        elif line["attempt"] < number and line["monotonic"] > at + SLACK_SECONDS:
            yield (
                f"{line['worker']} started {line['training_task_id']} {line['ordinal']} under {line['attempt']},"
                f" {line['monotonic'] - at:.2f} s after shard {shard} was begun under {number}"
            )


def who_holds_nothing_records_nothing(evidence: Evidence) -> Iterator[str]:
    """Well-formed reports of a live session that holds no shard were all refused."""
    for line in evidence.of("zombies"):
        if line["recorded"]:
            yield f"{line['recorded']} of {line['reports']} reports of a worker that held nothing were recorded"


def one_holder_an_attempt(evidence: Evidence) -> Iterator[str]:
    """Of one dispatch number of a shard, one worker starts documents."""
    shards = evidence.shard_of()
    holders: dict[tuple[int, int], str] = {}
    for line in evidence.attempts:
        shard = shards.get((line["training_task_id"], line["ordinal"]))
        if shard is not None and holders.setdefault((shard, line["attempt"]), line["worker"]) != line["worker"]:
            yield f"shard {shard} ran under {line['attempt']} at {holders[shard, line['attempt']]} and at {line['worker']}"


def nothing_runs_again_once_recorded(evidence: Evidence) -> Iterator[str]:
    """A document that has ended starts under no later attempt, nor twice under one unless its tries say so."""
    recorded = {
        (name, document["ordinal"]): document
        for name, row in evidence.trainings.items()
        for document in evidence.documents[row["id"]]
        if document["state"] != 0
    }
    times: collections.Counter[tuple[str, int, int]] = collections.Counter()
    for line in evidence.attempts:
        key = line["training_task_id"], line["ordinal"]
        document = recorded.get(key)
        times[(*key, line["attempt"])] += 1
        if document is not None and line["attempt"] > document["attempt"]:
            yield f"{key} was recorded by attempt {document['attempt']} and ran again under {line['attempt']}"
    for (training, ordinal, attempt), count in times.items():
        document = recorded.get((training, ordinal))
        if document is not None and document["attempt"] == attempt and count > max(1, document["tries"]):
            yield f"{training} {ordinal} ran {count} times under attempt {attempt}, with {document['tries']} tries recorded"


def no_document_runs_twice_at_once(evidence: Evidence) -> Iterator[str]:
    """Of all executions of a document, each has ended, or its process is dead, before the next one starts."""
    running: dict[tuple[str, int], tuple[float, int]] = {}
    thaws = [line["healed"] for line in evidence.of("faults") if line["kind"] == FROZEN]
    for execution in evidence.executions:
        for begin, end in execution.spans:
            until, pid = running.get(execution.document, (0.0, 0))
            if begin < until and pid != execution.pid and not any(abs(until - thaw) < THAW_SECONDS for thaw in thaws):
                yield f"{execution.document} ran in process {execution.pid} {until - begin:.2f} s before it ended in {pid}"
            if end > until:
                running[execution.document] = end, execution.pid


def only_what_was_in_flight_runs_again(evidence: Evidence) -> Iterator[str]:
    """Later attempts of a document are as many as lost sessions can explain."""
    attempts = collections.defaultdict(set)
    for line in evidence.attempts:
        name, ordinal = line["training_task_id"], line["ordinal"]
        if not name.endswith(ASSASSINS):
            attempts[name, ordinal].add(line["attempt"])
    # A transient failure may leave a document open on purpose, when its shard is handed back.
    first = {name: order["first"] for name, order in evidence.accepted.items()}
    again = sum(
        len(numbers) - 1
        for (name, ordinal), numbers in attempts.items()
        if kind_of(name, first.get(name, 0) + ordinal) is not Kind.TRANSIENT
    )
    lost = sum(session["state"] == 2 for session in evidence.database["sessions"])
    if again > lost * AGAIN_A_LOSS:
        yield f"{again} documents ran again with {lost} sessions lost, more than {AGAIN_A_LOSS} each"
