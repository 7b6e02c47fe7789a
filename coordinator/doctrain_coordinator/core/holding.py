"""What holds a training back: the rules of dispatch as sentences for the one who waits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from doctrain_coordinator.core.limits import Limit
from doctrain_coordinator.core.states import TrainingState


class Rule(IntEnum):
    """``doctrain.v1.HoldRule``."""

    PAUSED = 1
    NO_WORKER = 2
    PLAN_LIMIT = 3
    FLEET_FULL = 4
    HANDED_OUT = 5
    BROKER_AWAY = 6
    RETRY_LATER = 7
    LOADING = 8
    NEXT = 9
    WORKER_LOST = 10
    NO_FIT_WORKER = 11


@dataclass(frozen=True, slots=True)
class Lost:
    """Slots of the tenant, and of them the training's own, that silent workers hold; they are free in so many seconds, where known."""

    slots: int = 0
    own_slots: int = 0
    seconds: float | None = None


NOTHING_LOST = Lost()


@dataclass(frozen=True, slots=True)
class KeptOut:
    """Workers that are connected and kept from new shards, whose lanes do not count: by what, each once."""

    cordoned: int = 0
    unsubscribed: int = 0
    unfit: int = 0

    @property
    def workers(self) -> int:
        """All of them."""
        return self.cordoned + self.unsubscribed + self.unfit


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides whether a training waits; slots and lanes are counted over the fleet, times in seconds.

    Args:
        in_flight: its shards that are handed out, run or stop; ``running`` of them run.
        pending: whether a shard of it could be granted now, as far as it alone is concerned.
        own_slots: of ``slots_used``, those that it is counted for itself.
        lost: those that are held by workers of which nothing is heard any more.
        paused: by its tenant; ``suspended``: with its tenant.
        broker_answers: None where nobody asked.
    """

    state: TrainingState
    paused: bool
    suspended: bool
    sealed: bool
    in_flight: int
    running: int
    pending: bool
    limit: Limit
    slots_used: int
    own_slots: int
    lanes: int
    lanes_used: int
    yield_reason: str | None
    yield_seconds: float | None
    kept_out: KeptOut = KeptOut()
    broker_answers: bool | None = None
    lost: Lost = NOTHING_LOST


@dataclass(frozen=True, slots=True)
class Hold:
    """A rule that applies: what is the matter, what to do, and in how many seconds it ends by itself, where known."""

    rule: Rule
    sentence: str
    advice: str = ""
    seconds: float | None = None


def holds(facts: Facts) -> list[Hold]:
    """Every rule that keeps the training from running, or from running faster; the decisive one first."""
    return [] if facts.state.ended else list(_holds(facts))


def waiting_reason(facts: Facts) -> str:
    """The sentence of the decisive rule while nothing of the training runs; else empty."""
    if facts.running:
        return ""
    return next((hold.sentence for hold in holds(facts)), "")


def _holds(facts: Facts) -> Iterator[Hold]:
    if facts.suspended or facts.paused:
        yield _paused(facts)
        return
    yield from _not_taken(facts)
    if facts.lost.own_slots or (facts.lost.slots and facts.pending and facts.slots_used >= facts.limit.slots):
        yield _worker_lost(facts.lost)
    if facts.yield_reason is not None:
        seconds = max(0.0, facts.yield_seconds or 0.0)
        advice = "Make sure that what its documents need is reachable again; nothing is lost meanwhile."
        yield Hold(Rule.RETRY_LATER, f"It is tried again in {seconds:.0f} s: {facts.yield_reason}", advice, seconds)
    if facts.pending:
        yield from _not_granted(facts)
    elif not facts.sealed and not facts.in_flight:
        yield Hold(Rule.LOADING, "It is still being loaded; the documents that it has so far have ended.")


def _paused(facts: Facts) -> Hold:
    under_way = "; what runs of it ends by itself" if facts.running else ""
    if facts.suspended:
        return Hold(Rule.PAUSED, f"The tenant is suspended{under_way}.", "Ask the operator of the mesh.")
    return Hold(Rule.PAUSED, f"The training is paused{under_way}.", "Resume it.")


def _not_taken(facts: Facts) -> Iterator[Hold]:
    if facts.lanes == 0 and not facts.kept_out.workers:
        sentence = "No worker is connected; it starts as soon as one is."
        yield Hold(Rule.NO_WORKER, sentence, "Ask the operator of the mesh to start workers.")
    elif facts.in_flight and facts.broker_answers is False:
        yield _broker_away(facts)
    elif facts.lanes == 0:
        yield _no_fit_worker(facts.kept_out)
    elif facts.in_flight and not facts.running:
        yield Hold(Rule.HANDED_OUT, "It was handed out, and no worker has taken it up yet.")


def _no_fit_worker(kept_out: KeptOut) -> Hold:
    who = "The one worker that is connected is" if kept_out.workers == 1 else f"All {kept_out.workers} workers that are connected are"
    causes = {
        "by an operator": kept_out.cordoned,
        "for want of a connection to the message broker": kept_out.unsubscribed,
        "for not being well": kept_out.unfit,
    }
    found = {cause: workers for cause, workers in causes.items() if workers}
    why = ", ".join(cause if len(found) == 1 else f"{workers} {cause}" for cause, workers in found.items())
    sentence = f"{who} kept from new work, {why}; it starts as soon as one takes work again."
    return Hold(Rule.NO_FIT_WORKER, sentence, "Ask the operator of the mesh to look at its workers, or to start others.")


def _broker_away(facts: Facts) -> Hold:
    sentence = "It was handed out, but the message broker does not answer; it goes on when the broker is back."
    if facts.running:
        sentence = "The message broker does not answer: what runs goes on, and what was handed out beside it waits for the broker."
    return Hold(Rule.BROKER_AWAY, sentence, "Tell the operator of the mesh.")


def _worker_lost(lost: Lost) -> Hold:
    whose = "of this training" if lost.own_slots == lost.slots else "of the tenant's trainings"
    documents = "1 document" if lost.slots == 1 else f"{lost.slots} documents at once"
    sentence = (
        f"A worker that was counted for {documents} {whose} is not heard of any more; what it had goes on elsewhere once it is given up."
    )
    return Hold(Rule.WORKER_LOST, sentence, "Wait; nothing is lost.", lost.seconds)


def _not_granted(facts: Facts) -> Iterator[Hold]:
    if facts.broker_answers is False:
        return  # what is granted would wait for it, too
    if facts.slots_used - facts.lost.slots >= facts.limit.slots:
        yield _plan_limit(facts)
    elif facts.slots_used >= facts.limit.slots:
        return  # what lost workers hold was told
    elif 0 < facts.lanes <= facts.lanes_used:
        yield Hold(
            Rule.FLEET_FULL, "All workers are busy; it starts when one of them has room.", "Wait, or ask the operator for more workers."
        )
    elif facts.lanes and not facts.in_flight:
        yield Hold(Rule.NEXT, "It is next in line and about to start.")


def _plan_limit(facts: Facts) -> Hold:
    slots, ordered = facts.limit.slots, facts.limit.ordered
    who = "An operator of the mesh" if ordered else "The plan"
    at_once = "1 document at a time, which is" if slots == 1 else f"{slots} documents at once, all"
    if facts.own_slots >= slots:
        sentence = f"{who} allows {at_once} in use by this training."
        advice = (
            "Ask the operator, who set that."
            if ordered
            else "It runs as the plan allows. A larger plan makes it faster only while the workers have time to spare."
        )
        return Hold(Rule.PLAN_LIMIT, sentence, advice)
    users = "the tenant's trainings, this one included" if facts.own_slots else "the tenant's other trainings"
    instead = "ask the operator, who set that" if ordered else "ask for a larger plan"
    return Hold(Rule.PLAN_LIMIT, f"{who} allows {at_once} in use by {users}.", f"Wait, pause or cancel another training, or {instead}.")
