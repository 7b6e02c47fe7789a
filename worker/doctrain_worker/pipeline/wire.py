"""What the stages of a parsing child hand on, and what the child answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec

from doctrain_worker.pipeline.processor import StageTiming


@dataclass(frozen=True, slots=True)
class DocumentText:
    """A document as text.

    Args:
        text: Markdown, or plain text.
        media_type: what the document is.
        page_starts: where each page begins in ``text``; empty when the kind of document has no pages.
        pages_without_text: pages that hold pictures only.
    """

    text: str
    media_type: str
    page_starts: tuple[int, ...] = ()
    pages_without_text: int = 0


Place = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
"""A place in a text, or a page's number."""

Said = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*$")]
"""Text that Postgres can store: without NUL."""


class Chunk(msgspec.Struct, array_like=True):
    """A part of a document, small enough for the embedding model.

    Args:
        start: where it begins in the document's text, in characters.
        end: where it ends.
        page: the page it begins on, from 1; 0 when there are no pages.
        heading: the headings above it, outermost first, with `` > `` between.
        text: what it says.
    """

    start: Place
    end: Place
    page: Place
    heading: Said
    text: Said


class ChunkBatch(msgspec.Struct, array_like=True):
    """Chunks of one document: the next of them, whether there may be more, and the seconds that they took."""

    chunks: list[Chunk]
    more: bool
    seconds: float


class Parsed(msgspec.Struct, array_like=True):
    """What a parsing child answers for one document; all of it is checked against these types."""

    sha256: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    media_type: Said
    read: StageTiming
    first: ChunkBatch
