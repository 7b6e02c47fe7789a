"""The stage ``read``: from the bytes of a document to what it says, slice by slice. Runs in a child, for the bytes are not to be trusted.

A replacement is a function of the same argument and result (docs/howto/replace-a-stage.md).
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator

import msgspec

from doctrain_worker.pipeline.child import media
from doctrain_worker.pipeline.child.formats import opened
from doctrain_worker.pipeline.child.formats.content import Attached, Pages
from doctrain_worker.pipeline.child.source import Source
from doctrain_worker.pipeline.wire import BegunPart, Slice, UnreadPart
from doctrain_worker.sandbox.child.refusal import Refusal
from doctrain_worker.text.blocks import GAP, Block, placed
from doctrain_worker.text.part_names import part_name

log = logging.getLogger(__name__)

SLICE_PAGES = 4
"""A dense page that is turned takes tesseract up to 10 s, so that a slice is well within the time of one call."""

SLICE_LETTERS = 1 << 18


def read(source: Source) -> Iterator[Slice | BegunPart | UnreadPart]:
    """The document, then its parts, each in slices in their order; a part is told before it is opened, or told as one that cannot be read.

    Raises:
        Refusal: EMPTY, UNSUPPORTED, WRONG_TYPE, ENCRYPTED, CORRUPT, TOO_LARGE, TOO_MANY_PAGES, TOO_MANY_PARTS or TOO_DEEP.
    """
    with source.timeline.stage("detect"):
        if media.asks_to_be_unpacked(source.claimed):
            source = dataclasses.replace(source, limits=msgspec.structs.replace(source.limits, archives=True))
        media_type = media.detect(source.content, source.claimed, source.name, archives=source.limits.archives)
        source = dataclasses.replace(source, media_type=media_type)
    try:
        content = opened(source)
        if content.pages is not None:
            yield from _paged(source, content.pages)
        else:
            yield from _flat(source, content.blocks)
        yield from _parts(source, content.parts)
    except RecursionError as error:
        sentence = "What is in the document is within one another too deeply; save it in a simpler form."
        raise Refusal("TOO_DEEP", sentence, resource=True) from error


def _flat(source: Source, blocks: Iterable[Block]) -> Iterator[Slice]:
    """Blocks of a document without pages that cost anything."""
    held: list[Block] = []
    letters = 0
    for block in blocks if source.media_type in media.KEPT_PLACES else placed(blocks, 0):
        held.append(block)
        letters += len(block.text)
        if letters > SLICE_LETTERS:
            yield Slice(source.part, source.media_type, held)
            held, letters = [], 0
    yield Slice(source.part, source.media_type, held)


def _paged(source: Source, pages: Pages) -> Iterator[Slice]:
    most = source.limits.pages
    if pages.count > most:
        sentence = f"The document has {pages.count:,} pages, more than {most:,}, the limit here; split it."
        raise Refusal("TOO_MANY_PAGES", sentence, resource=True)
    source.timeline.pages += pages.count
    at = 0
    for first in range(1, pages.count + 1, SLICE_PAGES):
        last = min(first + SLICE_PAGES - 1, pages.count)
        kept = source.kept.get((source.part, first, last))
        found = msgspec.msgpack.decode(kept, type=Slice) if kept is not None else _slice(source, pages, first, last)
        found.blocks = list(placed(found.blocks, at))
        if found.blocks:
            at = found.blocks[-1].end + GAP
        yield found


def _slice(source: Source, pages: Pages, first: int, last: int) -> Slice:
    found = Slice(source.part, source.media_type, [], first, last)
    for number in range(first, last + 1):
        page = pages.page(number)
        found.blocks += page.blocks
        found.recognised += page.recognised
        found.blank += not page.blocks
    return found


def _parts(source: Source, parts: Iterable[Attached]) -> Iterator[Slice | BegunPart | UnreadPart]:
    names: set[str] = set()
    for attached in parts:
        source.allowance.take_part()
        part = source.within(part_name(attached.name, names), attached.media_type)
        if (known := source.unread.get(part.part)) is not None:
            yield known
            continue
        yield BegunPart(part.part)
        try:
            yield from read(part.filled(attached.load))
        except MemoryError:
            raise
        except Refusal as refusal:
            if refusal.code == "TOO_MANY_PARTS":
                raise
            yield UnreadPart(part.part, refusal.code, refusal.sentence)
        except Exception as error:
            log.warning("A part raised %s", type(error).__name__, exc_info=True)
            yield UnreadPart(part.part, "UNREADABLE", f"Reading it ended with {type(error).__name__}; save it again, or leave it out.")
