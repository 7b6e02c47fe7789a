"""What every shard of a worker runs with."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from doctrain_worker.core.retry import RetryPolicy
from doctrain_worker.core.tally import Tally
from doctrain_worker.pipeline.processor import Processor
from doctrain_worker.shards.faults import Faults
from doctrain_worker.tracking.gate import Gate
from doctrain_worker.tracking.tracker import Tracker


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSetup:
    """What all shards of a worker share; it has one.

    Args:
        tracker: what the worker has to say to coordinators.
        gate: the door to starting documents.
        processor: what processes them.
        retries: a policy for each class of failure that is tried again.
        hold_seconds: how long a shard is held before what is left of it goes back.
        clock: seconds of the monotonic clock.
        draw: a random number in [0, 1).
        thread: for a processor that answers at once, which keeps the worker's thread to itself: one shard at a time runs
            until it has to wait, so heartbeats wait for one turn, and reports hold one shard's results.
        tally: counts what became of tries.
        faults: tells the log of what the processor raised.
    """

    tracker: Tracker
    gate: Gate
    processor: Processor
    retries: Mapping[int, RetryPolicy]
    hold_seconds: float
    clock: Callable[[], float] = time.monotonic
    draw: Callable[[], float] = random.random
    thread: asyncio.Lock = field(default_factory=asyncio.Lock)
    tally: Tally = field(default_factory=Tally)
    faults: Faults = field(default_factory=Faults)
