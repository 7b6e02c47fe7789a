"""What each named statement of the product does to the tables in memory; found by its text, as the server would see it.

A function of ``in_memory`` gets the transaction and the statement's parameters and answers rows. What it reads before it
waits for a lock is its snapshot; after a wait it looks at the locked row again, and at nothing else, as Postgres does.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable

from simulation.store.tables import NEVER, Row, Transaction

Statement = Callable[..., Awaitable[list[Row]]]

MODULES = (
    *(
        f"dispatch.{name}"
        for name in ("dispatcher", "grants", "leadership", "preemption", "balancing", "resizing", "training_turns", "yields")
    ),
    *(
        f"tracking.{name}"
        for name in ("group_transaction", "recording", "training_rows", "sessions", "heartbeats", "lost_sessions", "takeback")
    ),
    *(f"tracking.{name}" for name in ("handback", "trials", "opened", "shard_locks", "stuck")),
    *(f"trainings.{name}" for name in ("reading", "accepting", "storing", "unfinished", "endings", "control")),
)
"""Those of the coordinator whose every statement is known here, but for OTHERS."""
OTHERS = frozenset(
    {
        *(f"trainings.reading.{name}" for name in ("list", "running_ordinals", "documents", "ahead", "held_by_silent")),
        *(f"trainings.control.{name}" for name in ("suspend_training", "unsuspend_training")),
        *(f"trainings.storing.{name}" for name in ("known_ids", "copy_documents")),
    }
)
"""What only listings, manifests, retries and suspensions ask for, which are not simulated."""

_FUNCTIONS: dict[tuple[str, str], Statement] = {}


def named(module: str, name: str = "") -> Callable[[Statement], Statement]:
    """Of a module of the coordinator, the statement of that name, or of the function's."""

    def add(function: Statement) -> Statement:
        _FUNCTIONS[module, name or function.__name__] = function
        return function

    return add


def of(module: str) -> dict[str, str]:
    """The statements of a module of the coordinator by name."""
    found: dict[str, str] = importlib.import_module(f"doctrain_coordinator.{module}").SQL
    return found


def by_text() -> dict[str, tuple[str, Statement]]:
    """Name and function of every statement that is known here; raises KeyError for one that the product does not have."""
    from simulation.store import commits, dispatch, loading, sessions, shard_locks, trainings  # noqa: F401 - they name their functions

    return {of(module)[name]: (name, function) for (module, name), function in _FUNCTIONS.items()}


def unknown() -> list[str]:
    """The product's statements that the simulation would need and does not know."""
    by_text()
    return [
        f"{module}.{name}"
        for module in MODULES
        for name in of(module)
        if (module, name) not in _FUNCTIONS and f"{module}.{name}" not in OTHERS
    ]


class UnknownStatementError(Exception):
    """The product ran a statement that the simulation does not know; it is to be added to ``simulation.store``."""


def is_ready(row: Row) -> bool:
    """Whether a shard may be granted."""
    return bool(row["state"] == 0 and row["not_before"] == NEVER)


def in_flight(row: Row) -> bool:
    """Whether a shard's width counts."""
    return row["state"] in {1, 2, 3}


def order_of(tx: Transaction, session: Row) -> Row | None:
    """What an operator ordered of the worker of a session, if that stands."""
    order = tx.get("worker_order", session["worker_id"])
    return order if order is not None and order["stands"] else None


def cordoned(tx: Transaction, session: Row) -> bool:
    """Whether its worker is told to take no messages."""
    return order_of(tx, session) is not None or (session["unfit"] is not None and not session["spared"])


def takes(tx: Transaction, session: Row) -> bool:
    """Whether the worker of a live session takes new shards."""
    return not (session["draining"] or session["unsubscribed"] or cordoned(tx, session))


def told_width(row: Row) -> int:
    """What the worker of a shard is told."""
    width: int = row["width"]
    return width if row["narrow_to"] is None else min(width, row["narrow_to"])


def has_lane(row: Row) -> bool:
    """Whether it runs and has documents to start."""
    return bool(row["state"] == 2 and len(row["running"]) < row["open"])


def laned_shards(tx: Transaction) -> list[Row]:
    """Those that have a lane of a worker that takes new shards, or wait for one."""
    taking = {row["id"] for row in tx.scan("session") if row["state"] == 1 and takes(tx, row)}
    return [row for row in tx.scan("shard") if row["state"] == 1 or (has_lane(row) and row["holder"] in taking)]


def columns(row: Row, *names: str) -> Row:
    """What a statement selects."""
    return {name: row[name] for name in names}


def open_ordinals(tx: Transaction, training: int, first: int, last: int) -> list[int]:
    """Of the documents that are open."""
    return [row["ordinal"] for row in tx.documents(training, first, last) if row["state"] == 0]
