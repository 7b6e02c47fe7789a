"""When a mesh is at rest, and what must be so then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from simulation.ledger import CANCELLED, DONE
from simulation.mesh import Mesh
from simulation.tenants import Wisher


def at_rest(mesh: Mesh, wishers: Sequence[Wisher]) -> bool:
    """Whether nothing is left to do."""
    return not any(True for _ in missing(mesh, wishers))


def missing(mesh: Mesh, wishers: Sequence[Wisher]) -> Iterator[str]:
    """What is left to do."""
    yield from (f"{w.wish.task_id} is {'watched' if w.accepted else 'not accepted'} still" for w in wishers if not w.done)
    for key, row in mesh.store.database.tables["training"].items():
        if row["state"] < 3:
            yield f"training {key} is in state {row['state']} with {row['completed']} and {row['failed']} of {row['total']}"
    for key, row in mesh.store.database.tables["shard"].items():
        if row["state"] not in {DONE, CANCELLED}:
            yield f"shard {key} is in state {row['state']}, number {row['number']}, holder {row['holder']}"
    yield from _missing_elsewhere(mesh)


def _missing_elsewhere(mesh: Mesh) -> Iterator[str]:
    if mesh.broker.waiting() or mesh.broker.unacked():
        yield f"{mesh.broker.waiting()} messages wait, {mesh.broker.unacked()} are unacked"
    if mesh.ledger.running:
        yield f"{mesh.ledger.running} documents run"
    for worker in mesh.workers:
        if worker.running is None or worker.running.holds.named():
            yield f"{worker.name} holds {worker.running and worker.running.holds.named()}"


def broken(mesh: Mesh, wishers: Sequence[Wisher]) -> Iterator[str]:
    """Promises about the end that do not hold."""
    tables = mesh.store.database.tables
    by_task = {row["task_id"]: row for row in tables["training"].values()}
    if len(by_task) != len(tables["training"]):
        yield "a training was accepted twice"
    for wisher in wishers:
        wish, row = wisher.wish, by_task[wisher.wish.task_id]
        documents = [document for (training, _), document in tables["document"].items() if training == row["id"]]
        if row["state"] == 6:
            if wish.cancelled_after is None:
                yield f"{wish.task_id} is CANCELLED, and nobody asked for it"
            continue
        if len(documents) != wish.documents or any(document["state"] == 0 for document in documents):
            yield f"{wish.task_id} ended in state {row['state']} with documents open or missing"
        if row["completed"] + row["failed"] != wish.documents:
            yield f"{wish.task_id} counts {row['completed']} and {row['failed']} of {wish.documents}"
        if wish.poison is not None and tables["document"][row["id"], wish.poison]["error_code"] != "CRASHED_WORKER":
            yield f"the poison of {wish.task_id} ended as {tables['document'][row['id'], wish.poison]['error_code']}"
