"""What each named statement of the product does to the tables in memory; found by its text, as the server would see it.

A function of ``in_memory`` gets the transaction and the statement's parameters and answers rows. What it reads before it
waits for a lock is its snapshot; after a wait it looks at the locked row again, and at nothing else, as Postgres does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from doctrain_coordinator.store import statements as product
from simulation.store.tables import Row, Transaction

Statement = Callable[..., Awaitable[list[Row]]]

FILES = ("commits", "dispatch", "sessions", "opened", "loading", "trainings", "shard_locks")
"""Those whose every statement is known here, but for OTHERS."""
OTHERS = frozenset(
    {
        *("list", "running_ordinals", "documents", "changed_shards", "ended_documents", "known_ids", "ahead", "held_by_silent"),
        *("failed_documents", "failed_by_id", "copy_documents", "retried"),
    }
)
"""What only listings, manifests and retries ask for, which are not simulated."""

_FUNCTIONS: dict[tuple[str, str], Statement] = {}


def named(file: str, name: str = "") -> Callable[[Statement], Statement]:
    """Of ``sql/<file>.sql``, the statement of that name, or of the function's."""

    def add(function: Statement) -> Statement:
        _FUNCTIONS[file, name or function.__name__] = function
        return function

    return add


def by_text() -> dict[str, tuple[str, Statement]]:
    """Name and function of every statement that is known here; raises KeyError for one that the product does not have."""
    from simulation.store import commits, dispatch, loading, sessions, shard_locks, trainings  # noqa: F401 - they name their functions

    return {product.load(file)[name]: (name, function) for (file, name), function in _FUNCTIONS.items()}


def unknown() -> list[str]:
    """The product's statements that the simulation would need and does not know."""
    by_text()
    return [f"{file}.{name}" for file in FILES for name in product.load(file) if (file, name) not in _FUNCTIONS and name not in OTHERS]


class UnknownStatementError(Exception):
    """The product ran a statement that the simulation does not know; it is to be added to ``simulation.store``."""


def in_flight(row: Row) -> bool:
    """Whether a shard's width counts."""
    return row["state"] in {1, 2, 3}


def columns(row: Row, *names: str) -> Row:
    """What a statement selects."""
    return {name: row[name] for name in names}


def open_ordinals(tx: Transaction, training: int, first: int, last: int) -> list[int]:
    """Of the documents that are open."""
    return [row["ordinal"] for row in tx.documents(training, first, last) if row["state"] == 0]
