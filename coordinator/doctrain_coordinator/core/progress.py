"""What a person is told of how far a training is, in one sentence."""

from __future__ import annotations

from doctrain_coordinator.core.states import TrainingState


def sentence(state: TrainingState, *, total: int, completed: int, failed: int, sealed: bool, paused: bool = False) -> str:
    """Such as "Processing 41 of 120 documents."; the number counts the documents that have ended."""
    documents = f"{total:,} document{'' if total == 1 else 's'}"
    ended = completed + failed
    with_failures = f", {failed:,} failed" if failed else ""
    so_far = "" if sealed else " read so far"
    sentences = {
        TrainingState.QUEUED: f"Paused before the first of {documents}{so_far}." if paused else f"Waiting to start {documents}{so_far}.",
        TrainingState.PROCESSING: f"{'Paused at' if paused else 'Processing'} {ended:,} of {documents}{so_far}{with_failures}.",
        TrainingState.COMPLETED: f"Completed {documents}.",
        TrainingState.COMPLETED_WITH_FAILURES: f"Completed {completed:,} of {documents}{with_failures}.",
        TrainingState.FAILED: f"Failed after {ended:,} of {documents}{with_failures}.",
        TrainingState.CANCELLED: f"Cancelled after {ended:,} of {documents}{with_failures}.",
    }
    return sentences[state]
