"""What a message in the dead-letter queue means for the work that it stood for."""

from __future__ import annotations

from dataclasses import dataclass

from doctrain_coordinator.core.states import ShardState


@dataclass(frozen=True, slots=True)
class DeadGrant:
    """The dispatch ``number`` that a message carries, beside its shard as it stands: its latest number and state."""

    number: int
    latest: int
    state: ShardState


def explain(grant: DeadGrant | None) -> str:
    """One sentence for an operator; None stands for a message that carries no grant of a known shard."""
    if grant is None:
        return "It is no grant of a shard that exists; no work is missing. Find out who else publishes to the queue."
    if grant.number > grant.latest:
        return "It carries a number that was never granted, as after Postgres was restored to an earlier state; no work is missing."
    if grant.state in (ShardState.DONE, ShardState.CANCELLED):
        return "Its shard has ended; no work is missing."
    if grant.number < grant.latest or grant.state is ShardState.PENDING:
        return "Its grant is no longer in force: the shard was or will be granted under a later number; no work is missing."
    if grant.state is ShardState.DISPATCHED:
        return "Its grant is in force and nobody has begun it: the leader publishes it again within seconds."
    return "A worker holds its shard already; no work is missing."
