"""How each document ended, and what of it is in the index."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from typing import Any

from chaos.documents import EXPECTED_CODES, NEMESIS_CODE, Kind, hash_of, kind_of
from chaos.evidence import Evidence, Key

_CANCELLED = 6
_LOSSES_ON_TRIAL = 3


def each_ended_as_its_kind_must(evidence: Evidence) -> Iterator[str]:
    """DONE or FAILED with the code that its kind foretells; otherwise the nemesis itself must have hit it."""
    hit = _hit_children(evidence)
    interrupted = collections.Counter((execution.document) for execution in evidence.executions if not execution.ended)
    for order, row, document in _all(evidence):
        if document["state"] == 0:
            continue  # open in a cancelled training; elsewhere another rule says so
        key = order["training"], order["first"] + document["ordinal"]
        kind, code = kind_of(*key), document["error_code"] or ""
        if code == EXPECTED_CODES[kind]:
            continue
        if code == NEMESIS_CODE and key in hit:
            continue
        if code == EXPECTED_CODES[Kind.ASSASSIN] and document["losses"] >= _LOSSES_ON_TRIAL and interrupted[key] >= _LOSSES_ON_TRIAL:
            continue
        yield f"{key} ({kind.value}, attempt {document['attempt']}, tries {document['tries']}) of training {row['id']} ended {code!r}"


def _hit_children(evidence: Evidence) -> set[Key]:
    """What the killed children had in hand."""
    found = set()
    for kill in evidence.of("killed_children"):
        before = [e for e in evidence.executions if e.pid == kill["pid"] and e.start <= kill["at"] + 0.05]
        found |= {execution.document for execution in before[-1:]}
    return found


def the_index_holds_each_once(evidence: Evidence) -> Iterator[str]:
    """A trained document has its own content's hash and chunk in the index, a failed one nothing."""
    indexed = {(row["tenant"], row["document_id"]): row for row in evidence.database["indexed"]}
    chunks = {(row["tenant"], row["document_id"]): row for row in evidence.database["chunks"]}
    for order, row, document in _all(evidence):
        number = order["first"] + document["ordinal"]
        key = row["tenant"], str(number)
        found, pieces = indexed.get(key), chunks.get(key)
        if document["state"] == 1:
            wanted = (row["id"], document["ordinal"], hash_of(order["training"], number).hex(), 1)
            if found is None or (found["training"], found["ordinal"], found["content_hash"], found["chunk_count"]) != wanted:
                yield f"{order['training']} {number} is trained, and the index holds {found}"
            if pieces is None or (pieces["chunks"], pieces["training"], pieces["last"]) != (1, row["id"], row["id"]):
                yield f"{order['training']} {number} is trained, and its chunks are {pieces}"
    for key in chunks.keys() ^ indexed.keys():
        yield f"document {key} has chunks without a document, or the other way round"
    hashes = collections.defaultdict(set)
    for execution in evidence.executions:
        hashes[execution.document].add(execution.hash)
    for name, found_hashes in hashes.items():
        if found_hashes != {hash_of(*name).hex()}:
            yield f"{name} was processed with other bytes than its own"


def _all(evidence: Evidence) -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """(what was ordered, the training's row, the document's row) of every document of an accepted training."""
    for name, order in evidence.accepted.items():
        row = evidence.trainings.get(name)
        if row is None:
            continue
        for document in evidence.documents[row["id"]]:
            yield order, row, document
