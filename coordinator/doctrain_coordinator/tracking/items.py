"""What a group commit is made of: begins and reports, each with whom to answer once it is committed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from doctrain_coordinator.core.blocks import Block
from doctrain_coordinator.core.ledger import Begun, Recorded


@dataclass(frozen=True, slots=True)
class ShardFacts:
    """What of a shard never changes."""

    id: int
    training: int
    tenant: int
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class TrainingFacts:
    """What of a training never changes and its workers are told; ``uri_template`` is None unless its documents differ by number only."""

    task_id: str
    index_order: int
    traceparent: str
    retrain: bool
    uri_template: str | None
    number_offset: int


@dataclass(frozen=True, slots=True)
class BegunShard:
    """A shard that was begun, as it was when it was locked; ``suspects`` are ordinals, ``width`` is as of that ``resize``."""

    facts: ShardFacts
    training: TrainingFacts
    number: int
    width: int
    resize: int
    open: int
    suspects: Sequence[int]
    cool_downs: int


@dataclass(slots=True)
class Begin:
    """A begin to commit; ``answer`` is called after the commit with the outcome and, when begun, the shard."""

    session: int
    shard: int
    number: int
    answer: Callable[[Begun, BegunShard | None], None]
    urgent: bool = True

    @property
    def weight(self) -> int:
        """What it adds to a commit, in documents."""
        return 1


Answer = Callable[[Recorded, bool, Sequence[int]], None]
BLOCK_WEIGHT = 10
"""What a block costs beside its documents, in documents."""


@dataclass(slots=True)
class Report:
    """A block to commit; ``answer`` gets (what came of it, shard_done, invalid ordinals) after the commit."""

    session: int
    shard: int
    number: int
    block: Block
    answer: Answer
    urgent: bool
    outcome: Recorded = Recorded.RECORDED
    invalid: Sequence[int] = ()

    @property
    def weight(self) -> int:
        """What it adds to a commit, in documents."""
        return BLOCK_WEIGHT + len(self.block.started) + len(self.block.running)


Item = Begin | Report
