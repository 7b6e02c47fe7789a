"""The stage ``read`` in the test's own process."""

from __future__ import annotations

from typing import Any

from doctrain_worker.pipeline.child import read as stage
from doctrain_worker.pipeline.child.source import Allowance, Source
from doctrain_worker.pipeline.wire import BegunPart, ReadLimits, Slice, UnreadPart
from doctrain_worker.text.blocks import Block
from testkit import limits as all_limits

LIMITS = all_limits.LIMITS.reading


def read(content: bytes, claimed: str = "", name: str = "", *, limits: ReadLimits = LIMITS, **fields: Any) -> list[Slice | UnreadPart]:
    """All slices, and the parts that could not be read."""
    found = stage.read(Source(content, claimed, name, limits, allowance=Allowance(limits.bytes), **fields))
    return [one for one in found if not isinstance(one, BegunPart)]


def blocks(content: bytes, name: str = "", *, part: str = "") -> list[Block]:
    """The blocks of one part."""
    return [block for found in read(content, name=name) if isinstance(found, Slice) and found.part == part for block in found.blocks]


def text(content: bytes, name: str = "", *, part: str = "") -> str:
    """The text of one part."""
    return "\n\n".join(block.text for block in blocks(content, name, part=part))


def unread(found: list[Slice | UnreadPart]) -> dict[str, str]:
    """The codes of the parts that could not be read."""
    return {one.part: one.code for one in found if isinstance(one, UnreadPart)}
