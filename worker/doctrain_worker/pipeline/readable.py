"""What reading a document gives, and what chunking that gives: the two types between the stages of the parsing child."""

from __future__ import annotations

from dataclasses import dataclass

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


class Chunk(msgspec.Struct, array_like=True):
    """A piece of a document, small enough for the embedding model.

    Args:
        start: where it begins in the document's text, in characters.
        end: where it ends.
        page: the page it begins on, from 1; 0 when there are no pages.
        heading: the headings above it, outermost first, with `` > `` between.
        text: the piece.
    """

    start: int
    end: int
    page: int
    heading: str
    text: str


class StageSpan(msgspec.Struct, array_like=True):
    """A stage that ran in a child: its name, when (seconds since the epoch), how long (seconds), and facts."""

    name: str
    start: float
    seconds: float
    attributes: dict[str, str | int | float]


class Parsed(msgspec.Struct, array_like=True):
    """What a parsing child answers for one document; all of it is checked against these types."""

    sha256: bytes
    media_type: str
    chunks: list[Chunk]
    stages: list[StageSpan]
