"""Text recognition (OCR) by tesseract: a picture of a page to its lines, in reading order.

Imported by whoever meets the first page without text: the library and a language take 0.2 s and 100 MB.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import tesserocr
from PIL import Image

from doctrain_worker.pipeline.child import encoding
from doctrain_worker.pipeline.child.formats import ocr_data
from doctrain_worker.text import layout
from doctrain_worker.text.blocks import Block, Box
from doctrain_worker.text.layout import Line, Page

DPI = 200
"""At 150 tesseract lost the columns of a page, in grey its coloured words."""

MOST_PIXELS = 40_000_000
"""More are not drawn: a page of this many takes a minute and half a gigabyte."""

_UNSURE = 70
"""Below this mean confidence (0 to 100) a page is tried upside down and sideways too."""

_NOISE = 30
"""A line below this confidence is a picture, dirt or handwriting, and no text."""

_HEADING_RATIO = 1.5
_SAME_SIZE = 1.5
"""Heights of lines on a picture differ by what letters they hold: only much larger ones are headings."""

_POINTS = 72 / DPI
_NEAR = 0.8
"""A block that begins within this share of a line below another is taken to go on with it."""


@dataclass(frozen=True, slots=True)
class _Found:
    lines: list[Line]
    size: tuple[float, float]
    confidence: float

    @property
    def worth(self) -> float:
        """Letters, the surer the more."""
        return sum(len(line.text) for line in self.lines) * self.confidence


def blocks(picture: Image.Image, number: int, languages: str) -> list[Block]:
    """What stands on the picture of page ``number``; nothing on an empty one."""
    picture = picture.convert("RGB")
    found = _recognised(picture, languages)
    if found.confidence < _UNSURE and found.lines:
        turned = (_recognised(picture.transpose(turn), languages) for turn in _TURNS)
        found = _best(found, turned)
    page = Page(number, found.size, found.lines)
    return layout.page_blocks(page, layout.style_of([found.lines], ratio=_HEADING_RATIO, same=_SAME_SIZE))


_TURNS = (Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270)


def _best(first: _Found, others: Iterable[_Found]) -> _Found:
    best = first
    for other in others:
        if other.worth > best.worth:
            best = other
        if best.confidence >= _UNSURE and best is other:
            break
    return best


def _recognised(picture: Image.Image, languages: str) -> _Found:
    engine = _engine(languages)
    try:
        engine.SetImage(picture)
        engine.SetSourceResolution(DPI)
        engine.Recognize()
        lines = list(_lines(engine))
        return _Found([line for line, _ in lines], (picture.width * _POINTS, picture.height * _POINTS), _mean(lines))
    except RuntimeError as error:  # the picture is sound, so what tesseract did not get is memory
        raise MemoryError from error
    finally:
        engine.Clear()


def _mean(lines: list[tuple[Line, float]]) -> float:
    letters = sum(len(line.text) for line, _ in lines)
    return sum(len(line.text) * confidence for line, confidence in lines) / letters if letters else 0.0


def _lines(engine: tesserocr.PyTessBaseAPI) -> Iterator[tuple[Line, float]]:
    """The lines with how sure they are, in points; of a new region where a paragraph or a column begins."""
    words = engine.GetIterator()
    above: _Place | None = None
    region = 0
    for found in tesserocr.iterate_level(words, _LINE) if words is not None else ():
        place = None if found.Empty(_LINE) else _Place.of(found)
        if place is None:
            continue
        text = encoding.clean(found.GetUTF8Text(_LINE) or "").strip()
        confidence = found.Confidence(_LINE)
        if confidence < _NOISE or not any(map(str.isalnum, text)):
            continue
        region += above is not None and not place.goes_on(above)
        height = found.RowAttributes()["row_height"] * _POINTS
        left, top, right, bottom = (edge * _POINTS for edge in place.line)
        yield Line(text, height, (left, top, right, bottom), region=region), confidence
        above = place


_LINE = tesserocr.RIL.TEXTLINE


@dataclass(frozen=True, slots=True)
class _Place:
    """Where tesseract saw a line, and the paragraph and the block that it is of."""

    line: Box
    paragraph: Box
    block: Box

    @classmethod
    def of(cls, found: tesserocr.PyResultIterator) -> _Place | None:
        """None for what has no place."""
        boxes = [found.BoundingBox(level) for level in (_LINE, tesserocr.RIL.PARA, tesserocr.RIL.BLOCK)]
        return cls(*boxes) if None not in boxes else None

    def goes_on(self, above: _Place) -> bool:
        """Whether this may be of the same paragraph: tesseract cuts columns into more blocks than there are, but no paragraph in two."""
        if self.block == above.block:
            return self.paragraph == above.paragraph
        gap, room = self.line[1] - above.line[3], _NEAR * (above.line[3] - above.line[1])
        return -room < gap < room and self.line[0] < above.line[2] and above.line[0] < self.line[2]


@cache
def _engine(languages: str) -> tesserocr.PyTessBaseAPI:
    with tempfile.TemporaryDirectory() as folder:  # tesseract looks into one, and they may be in several
        for name, path in ocr_data.files(languages).items():
            link = Path(folder) / name
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(path)
        return tesserocr.PyTessBaseAPI(path=folder, lang=languages, psm=tesserocr.PSM.AUTO, oem=tesserocr.OEM.LSTM_ONLY)
