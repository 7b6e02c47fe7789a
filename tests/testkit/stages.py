"""Stages of the pipeline as a user might bring them."""

from __future__ import annotations

from doctrain_worker.pipeline.readable import Readable


def shout(content: bytes, claimed: str, name: str) -> Readable:
    """A stage ``read`` that makes everything loud."""
    return Readable(content.decode().upper(), claimed or name)
