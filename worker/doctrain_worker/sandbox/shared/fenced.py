"""The errors that say that a worker's work is over, wherever it is noticed. Nothing was written, nothing may be reported."""

from __future__ import annotations


class FencedError(Exception):
    """The session is over and its children were killed; the next session asks for the shard again."""


class NotHeldError(FencedError):
    """The shard's row does not name this hold any more: the shard is somebody else's, whatever became of the session."""
