"""What a lost session costs a shard that it held (docs/protocol.md, "Charge").

A loss from outside and a document that kills its worker look the same. So the shard is charged first; from
``loss_before_trial`` losses on, its likeliest documents become suspects and run one at a time, each announced before it
starts, and only a document that was announced is charged for the loss of the session that ran it.

Suspects that a later loss adds join the earlier ones: nothing has cleared those. Documents in backoff are suspected with
the other open ones, because a report does not tell which they are; such a trial costs a moment and is passed.

A worker fences itself when it hears nothing from its coordinator: that is the network's doing, or a coordinator's, but also that of a
document that keeps the whole machine busy. So a few fences in a row are nobody's fault; where nothing was recorded between more
of them, each is a loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

FREE_FENCES = 3
"""So many fences of a shard's holders, without a result of it between them, cost it nothing."""


class Blame(Enum):
    """How a session was lost: by what may be a shard's doing, by a fence of its own, or by what is nobody's fault."""

    CHARGED = 1
    FENCED = 2
    NOBODY = 3


@dataclass(frozen=True, slots=True)
class Budgets:
    """Losses of a shard before trials begin, and losses on trial that fail a document."""

    before_trial: int
    on_trial: int


@dataclass(frozen=True, slots=True)
class LostShard:
    """A shard as its lost session held it; ``open`` are the ordinals of its open documents, ascending.

    ``fences``: how many holders before, one after the other, fenced themselves with as many documents open as now.
    """

    width: int
    losses: int
    suspects: Sequence[int]
    trial: int | None
    trial_losses: int
    running: Sequence[int]
    open: Sequence[int]
    fences: int = 0


@dataclass(frozen=True, slots=True)
class Judgement:
    """The shard's new ``losses``, ``suspects`` and ``fences``; the document charged and whether that fails it."""

    losses: int
    suspects: tuple[int, ...]
    charged_document: int | None = None
    fails: bool = False
    fences: int = 0


def judge(blame: Blame, held: LostShard, budgets: Budgets) -> Judgement:
    """What the loss of its session costs a shard; one that is nobody's fault leaves it as it is."""
    fences = held.fences + (blame is Blame.FENCED)
    if blame is Blame.NOBODY or (blame is Blame.FENCED and fences <= FREE_FENCES):
        return Judgement(held.losses, tuple(held.suspects), fences=fences)
    verdict = charge(held, budgets)
    return replace(verdict, fences=0 if verdict.fails else fences)


def charge(held: LostShard, budgets: Budgets) -> Judgement:
    """The verdict on a loss that is charged."""
    if held.trial is not None and held.trial in held.open:
        fails = held.trial_losses + 1 >= budgets.on_trial
        suspects = tuple(o for o in held.suspects if not (fails and o == held.trial))
        return Judgement(held.losses, suspects, held.trial, fails)
    losses = held.losses + 1
    if losses < budgets.before_trial:
        return Judgement(losses, tuple(held.suspects))
    still_open = set(held.open)
    running = [o for o in held.running if o in still_open]
    others = [o for o in held.open if o not in set(running)][: held.width]
    return Judgement(losses, tuple(sorted({*held.suspects, *running, *others} & still_open)))
