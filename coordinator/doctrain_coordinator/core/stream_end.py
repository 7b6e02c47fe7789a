"""Why a worker's stream ended, and what that says of its session (docs/protocol.md, "Take-back", "Rules of the worker")."""

from __future__ import annotations

from enum import Enum, auto


class StreamEnd(Enum):
    """What ended it first."""

    CLOSED = auto()
    """Its worker closed its end or cancelled the call, or the connection broke: without a word, and not by this side's doing."""
    LEFT = auto()
    """Its worker said goodbye, and the session is over."""
    STALLED = auto()
    """Its worker did not take its answers."""
    SILENT = auto()
    """Its worker said nothing for its lease; the machine may be gone, of which no network tells."""
    CUT = auto()
    """This side drains, and its worker found no other coordinator."""
    FAILED = auto()
    """This side failed, or was stopped."""


def shortens_the_lease(end: StreamEnd, *, spoken: bool, draining: bool) -> bool:
    """Whether the worker has fenced itself by now, so that its session is taken back without waiting for the lease.

    A worker does so when its stream ended on it. ``spoken``: whether it has said anything since its welcome. One that has not may never
    have got it, and works on over its stream before; the end of this one says nothing of it. Where this side is ``draining``, every end
    is its own doing, and its workers are on their way to another coordinator.
    """
    return end is StreamEnd.CLOSED and spoken and not draining
