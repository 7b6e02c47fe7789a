"""What crosses between the worker and the children of its pipeline, and between the stages in one."""

from __future__ import annotations

from typing import Annotated

import msgspec

from doctrain_worker.pipeline.processor import STORABLE, StageTiming
from doctrain_worker.text.blocks import Block

CHUNKS_A_CALL = 256

Place = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
"""A place in a text, or a page's number."""

ShortWord = Annotated[str, msgspec.Meta(pattern=STORABLE, max_length=200)]
"""A name."""

Text = Annotated[str, msgspec.Meta(pattern=STORABLE, max_length=100_000)]
"""More than any model takes."""


class ReadLimits(msgspec.Struct, array_like=True, frozen=True):
    """How a document may be read.

    Args:
        chunks: most chunks that it may be cut into.
        pages: most pages of it and of each of its parts.
        bytes: most bytes of all its parts together, unpacked.
        languages: what tesseract is to recognise, as in ``eng+deu``.
        archives: whether archives are read, too, that do not ask for it themselves.
    """

    chunks: int
    pages: int
    bytes: int
    languages: str
    archives: bool


class Slice(msgspec.Struct, array_like=True):
    """Some of what a document says: some of its pages, or as much as fits.

    Args:
        part: the path of an attachment or an archive's member within the document; empty for the document itself.
        media_type: what the part is.
        blocks: what it says, in reading order.
        first_page: the first of its pages; 0 where there are none, or where they cost nothing to read again.
        last_page: the last of them.
        recognised: how many of them were read by OCR.
        blank: on how many of them nothing was found.
    """

    part: str
    media_type: str
    blocks: list[Block]
    first_page: int = 0
    last_page: int = 0
    recognised: int = 0
    blank: int = 0


class ReadSlice(msgspec.Struct, array_like=True):
    """A slice that took long enough to read to be kept: whoever has it may hand it back, and its pages are not read again.

    Args:
        part: whose it is, as in ``Slice``.
        first_page: its first page.
        last_page: its last.
        value: the ``Slice``, in msgpack.
    """

    part: Text
    first_page: Place
    last_page: Place
    value: bytes


class BegunPart(msgspec.Struct, array_like=True):
    """A part of a document whose slices come next, and those of its own parts."""

    part: str


class UnreadPart(msgspec.Struct, array_like=True):
    """A part of a document that cannot be read: which, and why."""

    part: str
    code: str
    sentence: str


class ParseTask(msgspec.Struct, array_like=True):
    """A document to read.

    Args:
        content: its bytes.
        media_type: what its tenant says that it is; may be empty or wrong.
        name: the last part of its URI, or its id.
        limits: how it may be read.
        kept: slices of it that were read before, with the same limits and by the same version.
        unread: parts that are not to be read, for their readers died of them.
    """

    content: bytes
    media_type: str
    name: str
    limits: ReadLimits
    kept: list[ReadSlice] = []
    unread: list[UnreadPart] = []


class Chunk(msgspec.Struct, array_like=True):
    """A part of a document, small enough for the embedding model.

    Args:
        start: where it begins in the text of its part, in characters.
        end: where it ends.
        page: the page it begins on, from 1; 0 when there are no pages.
        heading: the headings above it, outermost first, with `` > `` between.
        text: what it says.
        part: the path of the attachment or member that it is of; empty for the document itself.
    """

    start: Place
    end: Place
    page: Place
    heading: Text
    text: Text
    part: Text = ""


class Parsed(msgspec.Struct, array_like=True):
    """A document that was read and cut to its end.

    Args:
        media_type: what it is.
        stages: what ran, with how long it took in all and what came of it.
    """

    media_type: ShortWord
    stages: Annotated[list[StageTiming], msgspec.Meta(max_length=20)]


class Progress(msgspec.Struct, array_like=True):
    """What one call got done: slices to be kept, chunks, and at the end of the document ``parsed``; before it, the stages so far.

    ``part`` is that which the next call begins or goes on with; empty for the document itself, and once all is read.

    The child may have been taken over, so all of it is checked against these types, and none of it is without a bound.
    """

    slices: Annotated[list[ReadSlice], msgspec.Meta(max_length=10_000)]
    chunks: Annotated[list[Chunk], msgspec.Meta(max_length=CHUNKS_A_CALL)]
    parsed: Parsed | None
    under_way: Annotated[list[StageTiming], msgspec.Meta(max_length=20)] = []
    part: Text = ""


Embedded = tuple[ShortWord, bytes]
"""The model's name, and the vectors of a batch of texts as the index takes them."""
