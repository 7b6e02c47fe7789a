"""What a lost session costs a shard that it held (docs/protocol.md, "Charge").

A loss from outside and a document that kills its worker look the same. So the shard is charged first; from
``loss_before_trial`` losses on, its likeliest documents become suspects and run one at a time, each announced before it
starts, and only a document that was announced is charged for the loss of the session that ran it.

Suspects that a later loss adds join the earlier ones: nothing has cleared those. Documents in backoff are suspected with
the other open ones, because a report does not tell which they are; such a trial costs a moment and is passed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Budgets:
    """Losses of a shard before trials begin, and losses on trial that fail a document."""

    before_trial: int
    on_trial: int


@dataclass(frozen=True, slots=True)
class Held:
    """A shard as its lost session held it; ``open`` are the ordinals of its open documents, ascending."""

    width: int
    losses: int
    suspects: Sequence[int]
    trial: int | None
    trial_losses: int
    running: Sequence[int]
    open: Sequence[int]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The shard's new ``losses`` and ``suspects``; the document charged and whether that fails it."""

    losses: int
    suspects: tuple[int, ...]
    charged_document: int | None = None
    fails: bool = False


def charge(held: Held, budgets: Budgets) -> Verdict:
    """The verdict on a loss that is charged; for one that is not, the shard stays as it is."""
    if held.trial is not None and held.trial in held.open:
        fails = held.trial_losses + 1 >= budgets.on_trial
        suspects = tuple(o for o in held.suspects if not (fails and o == held.trial))
        return Verdict(held.losses, suspects, held.trial, fails)
    losses = held.losses + 1
    if losses < budgets.before_trial:
        return Verdict(losses, tuple(held.suspects))
    still_open = set(held.open)
    running = [o for o in held.running if o in still_open]
    others = [o for o in held.open if o not in set(running)][: held.width]
    return Verdict(losses, tuple(sorted({*held.suspects, *running, *others} & still_open)))
