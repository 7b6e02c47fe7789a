"""What a seed stands for: how large the mesh is, what tenants want of it, and which faults it meets."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

RATES = {
    "store.before": 0.01,
    "store.after": 0.01,
    "store.slow": 0.03,
    "network.slow": 0.05,
    "broker.before": 0.15,
    "broker.after": 0.15,
    "broker.lost": 0.1,
    "broker.doubled": 0.2,
    "broker.shuffled": 0.3,
    "broker.slow": 0.2,
}
EVENTS = (
    "crash_coordinator",
    "crash_worker",
    "crash_machine",
    "freeze_coordinator",
    "freeze_worker",
    "leave_coordinator",
    "leave_worker",
    "cut_link",
    "cut_worker",
    "break_stream",
    "break_connection",
    "depose_leader",
    "restart_store",
    "deliver_again",
    "wipe_broker",
)


@dataclass(frozen=True, slots=True)
class Wish:
    """A training that a tenant starts at ``at``, and may cancel so long after, or pause and, in a while, resume."""

    tenant: str
    task_id: str
    documents: int
    numbered: bool
    at: float
    cancelled_after: float | None
    paused_after: float | None
    poison: int | None


@dataclass(slots=True)
class Scenario:
    """See ``of_seed``."""

    coordinators: int
    lanes: list[int]
    tenants: dict[str, str]
    slots: dict[str, int]
    wishes: list[Wish]
    rates: dict[str, float]
    events: list[str]
    pause: float
    fault_seconds: float
    two_leaders: bool
    quick: bool
    slow: float
    poison: frozenset[tuple[str, int]] = field(default=frozenset())
    hogs: bool = False
    """The poison keeps its machine busy and does not kill it."""


def of_seed(draw: random.Random) -> Scenario:
    """A scenario; each kind of fault is in some seeds and not in others, so that none hides another."""
    tenants = {"acme": "free", "bolt": "paid"} if draw.random() < 0.6 else {"acme": "free"}
    poisoned = draw.random() < 0.12
    wishes = [_wish(draw, place, tenants, poisoned) for place in range(draw.randint(1, 4))]
    calm = draw.random() < 0.05
    return Scenario(
        coordinators=draw.randint(1, 3),
        lanes=[draw.randint(1, 3) for _ in range(draw.randint(1, 4))],
        tenants=tenants,
        slots={"free": draw.choice([3, 5, 7]), "paid": draw.choice([8, 12, 30])},
        wishes=wishes,
        rates={} if calm else {name: most * draw.random() for name, most in RATES.items() if draw.random() < 0.35},
        events=[] if calm else [name for name in EVENTS if draw.random() < 0.35],
        pause=draw.uniform(0.4, 2.0),
        fault_seconds=draw.uniform(4.0, 14.0),
        two_leaders=draw.random() < 0.25,
        quick=draw.random() < 0.5,
        slow=draw.choice([0.02, 0.1, 0.3]),
        poison=frozenset((wish.task_id, wish.poison) for wish in wishes if wish.poison is not None),
        hogs=poisoned and draw.random() < 0.5,
    )


def _wish(draw: random.Random, place: int, tenants: dict[str, str], poisoned: bool) -> Wish:
    documents = draw.randint(1, draw.choice([6, 25, 50]))
    return Wish(
        tenant=draw.choice(list(tenants)),
        task_id=f"training-{place}",
        documents=documents,
        numbered=draw.random() < 0.6,
        at=draw.uniform(0.0, 4.0),
        cancelled_after=draw.uniform(0.0, 5.0) if draw.random() < 0.2 else None,
        paused_after=draw.uniform(0.0, 5.0) if draw.random() < 0.25 else None,
        poison=draw.randrange(documents) if poisoned and place == 0 else None,
    )
