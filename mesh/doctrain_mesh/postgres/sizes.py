"""How many connections each process opens at most, in one place, since all of them share one server's ``max_connections``.

A coordinator has pools of its own for heartbeats, for what else workers and leases wait for, for calls, for showing trainings, for what
watches read of documents, for searches, and for what nobody waits for, so that no tenant's call keeps a worker waiting, nothing of a
worker's its heartbeat, no search or watch another call, and nothing that a coordinator does by itself any call. Beside them it has
connections that hold something for long: a lock, a claim, a listener, an open transaction.
"""

from __future__ import annotations

HEARTBEATS = 1
TRACKER = 8
CALLS = 8
VIEWS = 4
WATCHES = 2
SEARCHES = 8
BACKGROUND = 4
"""The counting of usage and what deleted documents left may each keep one for a minute; the others do not need theirs for long."""
LOADS = 4
"""Trainings that a coordinator loads at once; each has a connection, and so has the look for further ones."""
_LONE = 5
"""The listener for changes, the group commit, the leader or who would be it, the making of the index of vectors, the removal of what is
deleted or old."""

COORDINATOR = HEARTBEATS + TRACKER + CALLS + VIEWS + WATCHES + SEARCHES + BACKGROUND + LOADS + 1 + _LONE

COMMAND = 2
"""Of `doctrain-server bootstrap`; `migrate` and `doctor` have one, and so has a service that starts."""

RESERVED = 3
"""What Postgres keeps for superusers (``superuser_reserved_connections``)."""


def worker(children: int) -> int:
    """The connections of a worker with so many children of each kind: they write, others claim unchanged documents or look for deletes."""
    return children + 2


def needed(*, coordinators: int, workers: int, children: int) -> int:
    """The ``max_connections`` that a mesh needs where every worker has so many children of each kind."""
    return coordinators * COORDINATOR + workers * worker(children) + COMMAND + RESERVED
