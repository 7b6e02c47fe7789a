"""What reading a document gives, and what chunking that gives: the two types between the stages of the parsing child."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec


@dataclass(frozen=True, slots=True)
class Readable:
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
    """A piece of a document, small enough for the embedding model.

    Args:
        start: where it begins in the document's text, in characters.
        end: where it ends.
        page: the page it begins on, from 1; 0 when there are no pages.
        heading: the headings above it, outermost first, with `` > `` between.
        text: the piece.
    """

    start: Place
    end: Place
    page: Place
    heading: Said
    text: Said


class StageSpan(msgspec.Struct, array_like=True):
    """A stage that ran in a child: its name, when (seconds since the epoch), how long (seconds), and facts."""

    name: str
    start: float
    seconds: float
    attributes: dict[str, str | int | float]


class Some(msgspec.Struct, array_like=True):
    """Chunks of one document: the next of them, whether there may be more, and the seconds that they took."""

    chunks: list[Chunk]
    more: bool
    seconds: float


class Parsed(msgspec.Struct, array_like=True):
    """What a parsing child answers for one document; all of it is checked against these types."""

    sha256: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    media_type: Said
    read: StageSpan
    first: Some
