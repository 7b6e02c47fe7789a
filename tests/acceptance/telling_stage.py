"""A stage for acceptance tests, run in children: documents that crash, that raise, and that tell what a child knows of a secret."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from doctrain_worker.pipeline.child import read as ours
from doctrain_worker.pipeline.child.source import Source
from doctrain_worker.pipeline.wire import BegunPart, Slice, UnreadPart
from doctrain_worker.sandbox.child.refusal import Refusal


def read(source: Source) -> Iterable[Slice | BegunPart | UnreadPart]:
    """``CRASH``, ``RAISE`` and ``TELL word`` do so; all else is read as ever."""
    order, _, word = source.content.decode().partition(" ")
    if order == "CRASH":
        os.abort()
    if order == "RAISE":
        raise RuntimeError("a test says so")
    if order == "TELL":
        known = [name for name, value in os.environ.items() if word in value]
        known += [str(file) for file in Path("/proc").glob("*/environ") if word in _text(file)]
        raise Refusal("TOLD", f"Known: {known}")
    return ours.read(source)


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode(errors="replace")
    except OSError:
        return ""
