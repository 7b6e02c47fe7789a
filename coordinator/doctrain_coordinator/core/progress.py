"""What a person is told of how far a training is, in one sentence."""

from __future__ import annotations

from doctrain_coordinator.core.states import TrainingState


def sentence(
    state: TrainingState, *, total: int, completed: int, failed: int, sealed: bool, paused: bool = False, unchanged: int = 0
) -> str:
    """Where a training stands, such as "Processing 41 of 120 documents."; the number counts the documents that have ended."""
    documents = f"{total:,} document{'' if total == 1 else 's'}{'' if sealed else ' read so far'}"
    ended = completed + failed
    with_failures = (f"; {failed:,} failed" if failed else "") + (f"; {unchanged:,} unchanged" if unchanged else "")
    progress = f"{ended:,} of {documents}{with_failures}"
    all_failed = "The document failed." if total == 1 else f"All {documents} failed."
    sentences = {
        TrainingState.QUEUED: f"{'Paused before the start of' if paused else 'Waiting to start'} {documents}.",
        TrainingState.PROCESSING: f"{'Paused at' if paused else 'Processing'} {progress}.",
        TrainingState.COMPLETED: f"Completed {documents}{with_failures}.",
        TrainingState.COMPLETED_WITH_FAILURES: f"Completed {completed:,} of {documents}{with_failures}.",
        TrainingState.FAILED: all_failed if failed == total > 0 else f"Failed after {progress}.",
        TrainingState.CANCELLED: f"Cancelled after {progress}.",
    }
    return sentences[state]
