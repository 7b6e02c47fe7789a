"""DOCX, by mammoth: paragraphs, headings by their styles, lists, tables, footnotes, text boxes, what was inserted.

kreuzberg was tried: it leaves out ``&``, ``<`` and ``>`` (AT&T became ATT) and joins words that a tab parts.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

from doctrain_worker.pipeline.child import encoding
from doctrain_worker.pipeline.child.formats import markup, zipped
from doctrain_worker.pipeline.child.formats.content import Content
from doctrain_worker.pipeline.child.source import Source
from doctrain_worker.text.blocks import Block

_STYLES = "p[style-name='Title'] => h1:fresh\np[style-name='Subtitle'] => p:fresh"


def read(source: Source) -> Content:
    """The document's text. Raises Refusal CORRUPT or TOO_LARGE."""
    return Content(_blocks(source.content))


def _blocks(content: bytes) -> Iterator[Block]:
    import mammoth  # only children which meet DOCX pay

    zipped.check(content)
    with zipped.damage_told():
        html = mammoth.convert_to_html(io.BytesIO(content), style_map=_STYLES, convert_image=mammoth.images.img_element(lambda _: {})).value
    yield from markup.blocks(encoding.clean(html))
