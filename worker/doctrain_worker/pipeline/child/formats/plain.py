"""Plain text and Markdown, in any encoding; RTF as the text that it holds."""

from __future__ import annotations

from collections.abc import Iterator

from doctrain_worker.pipeline.child import encoding
from doctrain_worker.pipeline.child.formats.content import Content
from doctrain_worker.pipeline.child.source import Source
from doctrain_worker.text import markdown
from doctrain_worker.text.blocks import Block, Kind, table


def read(source: Source) -> Content:
    """The text as it is: its places are those of the document, decoded."""
    return Content(markdown.blocks(encoding.decode(source.content, source.charset)))


def read_rtf(source: Source) -> Content:
    """Each of its lines is a paragraph; rows of a table come with ``|`` between and at the end of their cells."""
    from striprtf.striprtf import rtf_to_text  # only children which meet RTF pay

    # Its bytes beyond ASCII are written out as escapes, in code pages that the document names.
    text = rtf_to_text(  # type: ignore[no-untyped-call]
        source.content.decode("latin-1"), errors="replace"
    )
    return Content(_rtf_blocks(encoding.clean(text)))


def _rtf_blocks(text: str) -> Iterator[Block]:
    rows: list[list[str]] = []
    for line in text.split("\n"):
        if line.rstrip().endswith("|"):
            rows.append(line.rstrip()[:-1].split("|"))
            continue
        if rows:
            yield table(rows)
            rows = []
        if line.strip():
            yield Block(Kind.PARAGRAPH, line.strip())
    if rows:
        yield table(rows)
