"""What a person is told of a training: one sentence on how far it is, one on why nothing of it runs."""

from __future__ import annotations

from dataclasses import dataclass

from doctrain_coordinator.core.states import TrainingState


def sentence(state: TrainingState, *, total: int, completed: int, failed: int, sealed: bool) -> str:
    """Such as "Processing 41 of 120 documents."; the number counts the documents that have ended."""
    documents = f"{total:,} document{'' if total == 1 else 's'}"
    ended = completed + failed
    with_failures = f", {failed:,} failed" if failed else ""
    so_far = "" if sealed else " read so far"
    sentences = {
        TrainingState.QUEUED: f"Waiting to start {documents}{so_far}.",
        TrainingState.PROCESSING: f"Processing {ended:,} of {documents}{so_far}{with_failures}.",
        TrainingState.COMPLETED: f"Completed {documents}.",
        TrainingState.COMPLETED_WITH_FAILURES: f"Completed {completed:,} of {documents}{with_failures}.",
        TrainingState.FAILED: f"Failed after {ended:,} of {documents}{with_failures}.",
        TrainingState.CANCELLED: f"Cancelled after {ended:,} of {documents}{with_failures}.",
    }
    return sentences[state]


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides whether a training waits; slots and lanes are counted over the fleet, times in seconds."""

    state: TrainingState
    paused: bool
    in_flight: int
    running: int
    slots: int
    slots_used: int
    lanes: int
    lanes_used: int
    yield_reason: str | None
    yield_seconds: float | None


def waiting_reason(facts: Facts) -> str:
    """Why nothing of the training runs; empty when something does or it has ended."""
    if facts.state.ended or facts.running:
        return ""
    delayed = facts.yield_reason is not None and (facts.yield_seconds or 0) > 0
    reasons = (
        (facts.paused, "The training is paused; resume it to go on."),
        (facts.lanes == 0, "No worker is in session; it starts as soon as one is."),
        (facts.in_flight > 0, "It was handed out and waits for a worker to take it up."),
        (delayed, f"It is tried again in {facts.yield_seconds or 0:.0f} s: {facts.yield_reason}"),
        (
            facts.slots_used >= facts.slots,
            f"The plan's {facts.slots} documents at once are all in use by the tenant's other trainings.",
        ),
        (facts.lanes_used >= facts.lanes, "All workers are busy; it starts when one has room."),
    )
    return next((sentence for applies, sentence in reasons if applies), "It is about to be handed out.")
