"""HTML: the main content of a page, without navigation; all of it when there is no main content to be found."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import chain

from doctrain_worker.pipeline.child import encoding
from doctrain_worker.pipeline.child.formats import markup
from doctrain_worker.pipeline.child.formats.content import Content
from doctrain_worker.pipeline.child.source import Source
from doctrain_worker.text.blocks import Block, Kind, heading

_TOO_LITTLE = 0.02
"""Main content below this share of the whole page's text is taken for a mistake of the finder's."""

_LARGEST_SEARCHED = 4 << 20
"""In a larger page, in characters, the main content is not looked for: the finder takes minutes, and it is nearly all."""


def read(source: Source) -> Content:
    """The page."""
    page = encoding.decode(source.content, source.charset, html=True)
    whole = markup.blocks(page)
    title = markup.title(page)
    if len(page) > _LARGEST_SEARCHED:
        return Content(_titled(whole, title))
    main = list(markup.blocks(_main_content(page)))
    told = _letters(main)
    if told < len(page) * _TOO_LITTLE:
        everything = list(whole)
        main = everything if _letters(everything) > 4 * told else main
    return Content(_titled(iter(main), title))


def _main_content(page: str) -> str:
    import trafilatura  # 0.3 s that only children which meet HTML pay

    # What it logs names no document; a page without content ends in a refusal, which does.
    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    found = trafilatura.extract(page, output_format="html", include_tables=True, include_formatting=True, favor_recall=True)
    return found or ""


def _letters(blocks: list[Block]) -> int:
    return sum(len(block.text) for block in blocks)


def _titled(blocks: Iterator[Block], title: str) -> Iterator[Block]:
    """The page's title above its text, which the finder of main content leaves out."""
    first = next(blocks, None)
    if title and not (first is not None and first.kind is Kind.HEADING and title in first.text):
        yield heading(title, 1)
    if first is not None:
        yield from chain((first,), blocks)
