"""What a reader of a format makes of a document: blocks or pages, and the parts that it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from doctrain_worker.text.blocks import Block


@dataclass(frozen=True, slots=True)
class PageContent:
    """What one page says.

    Args:
        blocks: in reading order.
        recognised: whether they were read by OCR.
    """

    blocks: list[Block]
    recognised: bool = False


class Pages(Protocol):
    """A document that is read page by page, because a page may take seconds."""

    count: int

    def page(self, number: int) -> PageContent:
        """One page, from 1."""


@dataclass(frozen=True, slots=True)
class Attached:
    """A part that a document holds.

    Args:
        name: its file name, or its path in an archive.
        media_type: what it is said to be; may be empty or wrong.
        load: gives its bytes, when told how many there may be at most; raises Refusal.
    """

    name: str
    media_type: str
    load: Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Content:
    """A document, or a part of one, opened; ``pages`` are read in place of ``blocks``."""

    blocks: Iterable[Block] = ()
    pages: Pages | None = None
    parts: Iterable[Attached] = ()
