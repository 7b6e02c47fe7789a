"""The error that says that a worker's work is over, wherever it is noticed."""

from __future__ import annotations


class FencedError(Exception):
    """The session's children were killed, or its shard is no longer held: nothing was written, nothing may be reported."""
