"""PPTX, by python-pptx: the text of each slide, its tables and its notes; a slide is a page.

kreuzberg was tried: it parts words where their letters differ in nothing but the language they are checked in, and loses
which slide a text is on.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from doctrain_worker.pipeline.child import encoding
from doctrain_worker.pipeline.child.formats import zipped
from doctrain_worker.pipeline.child.formats.content import Content
from doctrain_worker.pipeline.child.source import Source
from doctrain_worker.text.blocks import Block, Kind, heading, table

if TYPE_CHECKING:
    from pptx.presentation import Presentation
    from pptx.slide import Slide

_TITLE_LEVEL = 2
_DEEPEST_GROUP = 20


def read(source: Source) -> Content:
    """The slides. Raises Refusal CORRUPT or TOO_LARGE."""
    import pptx  # 0.3 s that only children which meet PPTX pay

    zipped.check(source.content)
    with zipped.damage_told():
        return Content(_blocks(pptx.Presentation(io.BytesIO(source.content))))


def _blocks(presentation: Presentation) -> Iterator[Block]:
    with zipped.damage_told():
        size = float(presentation.slide_width or 1), float(presentation.slide_height or 1)
        for number, slide in enumerate(presentation.slides, 1):
            yield from _slide(slide, number, size)


def _slide(slide: Slide, number: int, size: tuple[float, float]) -> Iterator[Block]:
    title = slide.shapes.title
    if title is not None and title.text_frame.text.strip():
        yield _placed(heading(encoding.clean(title.text_frame.text), _TITLE_LEVEL, number), title, size)
    for shape in _flat(slide.shapes, 0):
        if title is None or shape.shape_id != title.shape_id:
            for block in _shape(shape):
                block.page = number
                yield _placed(block, shape, size)
    notes = slide.notes_slide.notes_text_frame if slide.has_notes_slide else None
    if notes is not None and notes.text.strip():
        yield Block(Kind.PARAGRAPH, encoding.clean(notes.text.strip()), page=number)


def _flat(shapes: Iterable[Any], depth: int) -> Iterator[Any]:
    """The shapes, those in groups too, in the order in which they were made, which readers follow too."""
    for shape in shapes:
        inner = getattr(shape, "shapes", None)
        if inner is not None and depth < _DEEPEST_GROUP:
            yield from _flat(inner, depth + 1)
        else:
            yield shape


def _shape(shape: Any) -> Iterator[Block]:
    if getattr(shape, "has_table", False):
        yield table([[encoding.clean(cell.text) for cell in row.cells] for row in shape.table.rows])
    if shape.has_text_frame:
        said = [(found.level, encoding.clean(found.text).strip()) for found in shape.text_frame.paragraphs]
        said = [(level, text) for level, text in said if text]
        if len(said) > 1 and shape.is_placeholder:
            yield Block(Kind.LIST, "\n".join(f"{'  ' * level}- {text}" for level, text in said))
        elif said:
            yield Block(Kind.PARAGRAPH, "\n".join(text for _, text in said))


def _placed(block: Block, shape: Any, size: tuple[float, float]) -> Block:
    edges = shape.left, shape.top, shape.width, shape.height
    if None not in edges:
        left, top, width, height = edges
        shares = left / size[0], top / size[1], (left + width) / size[0], (top + height) / size[1]
        block.box = tuple(min(max(round(share, 4), 0.0), 1.0) for share in shares)
    return block
