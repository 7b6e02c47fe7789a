"""PDF by pdfium: text in reading order, headings by the size of their letters, exact pages; OCR for pages without text.

kreuzberg was tried: it finds tables, but it loses paragraphs beside them, turns right-to-left lines round, and takes
lines of CJK for headings. A document for search must be whole first. Tables that are drawn with lines are found by
pdfplumber (``pdf_tables``).
"""

from __future__ import annotations

import contextlib
import ctypes
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import pypdfium2
from pypdfium2 import raw as pdfium

from doctrain_worker.pipeline.child import encoding
from doctrain_worker.pipeline.child.formats.content import Content, PageContent
from doctrain_worker.pipeline.child.formats.pdf_view import View, view_of
from doctrain_worker.pipeline.child.source import Source
from doctrain_worker.sandbox.child.refusal import Refusal
from doctrain_worker.text import layout
from doctrain_worker.text.blocks import Block
from doctrain_worker.text.layout import Line, Page, Style, Table

_BOLD_WEIGHT = 600
_BOLD_NAMES = (b"bold", b"black", b"heavy")

_STYLE_PAGES = 48
"""How many pages are looked at to learn what the body and the headings of a document look like."""

_FEW_LETTERS = 40
"""A page with fewer letters that is all picture is a scan with a stamp or a page number on it."""

_WHOLE_PAGE = 0.6
"""The share of a page above which a picture is the page."""

_UNMAPPED = 0.3
"""Above this share of letters that the font does not tell, a page's text is none, and the page is read as a picture."""

_LETTERS_LOOKED_AT = 300
_FEWEST_RULES = 4
_MOST_RULES = 2000
_POINTS_AN_INCH = 72.0

_MOST_POINTS = 200_000.0
"""The longest side of a page, 70 m: pdfium makes a table of a page's length, and ends the process that has no memory for it."""


class PdfPages:
    """The pages of a PDF."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._document = _opened(source.content)
        self.count = len(self._document)
        self._style: Style | None = None

    def page(self, number: int) -> PageContent:
        """See ``Pages``. A broken page of a document that opens is empty; the others count."""
        try:
            with contextlib.closing(self._flat(number - 1)) as page:
                return self._read(page, number)
        except pypdfium2.PdfiumError:
            return PageContent([])

    def _read(self, page: pypdfium2.PdfPage, number: int) -> PageContent:
        text = _Text.of(page)
        if text.is_doubtful and _is_picture(page, text):
            recognised = self._recognised(page, number)
            if 2 * sum(len(block.text) for block in recognised) >= text.letters:
                return PageContent(recognised, recognised=True)
        content = self._with_tables(page, number, text.lines)
        return PageContent(layout.page_blocks(Page(number, page.get_size(), content), self._learned_style()))

    def _flat(self, index: int) -> pypdfium2.PdfPage:
        """A page, with what is filled into its form as part of its text."""
        page = self._opened(index)
        if page.formenv is None:
            return page
        page.flatten()
        page.close()
        return self._opened(index)

    def _opened(self, index: int) -> pypdfium2.PdfPage:
        page = self._document[index]
        if max(page.get_size()) > _MOST_POINTS:
            page.close()
            raise Refusal(
                "TOO_LARGE", f"Page {index + 1} of the PDF is many metres long; save it with pages of a usual size.", resource=True
            )
        return page

    def _recognised(self, page: pypdfium2.PdfPage, number: int) -> list[Block]:
        with self._source.timeline.stage("ocr"):
            from doctrain_worker.pipeline.child.formats import ocr  # only children which meet a page without text pay

            width, height = page.get_size()
            scale = ocr.DPI / _POINTS_AN_INCH
            scale *= min(1.0, math.sqrt(ocr.MOST_PIXELS / max(width * height * scale * scale, 1.0)))
            return ocr.blocks(page.render(scale=scale).to_pil(), number, self._source.limits.languages)

    def _with_tables(self, page: pypdfium2.PdfPage, number: int, lines: list[Line]) -> Sequence[Line | Table]:
        if not lines or not _has_rules(page):
            return lines
        from doctrain_worker.pipeline.child.formats import pdf_tables  # only children which meet a table pay

        return pdf_tables.put_in(lines, page, pdf_tables.cells(self._source.content, number))

    def _learned_style(self) -> Style:
        if self._style is None:
            step = max(-(-self.count // _STYLE_PAGES), 1)
            self._style = layout.style_of([self._sample(index) for index in range(0, self.count, step)])
        return self._style

    def _sample(self, index: int) -> list[Line]:
        try:
            with contextlib.closing(self._opened(index)) as page:
                return _Text.of(page).lines
        except pypdfium2.PdfiumError:
            return []


def read(source: Source) -> Content:
    """The document. Raises Refusal ENCRYPTED or CORRUPT."""
    return Content(pages=PdfPages(source))


def _opened(content: bytes) -> pypdfium2.PdfDocument:
    try:
        document = pypdfium2.PdfDocument(content)
        if document.get_formtype() != pdfium.FORMTYPE_NONE:
            document.init_forms()
    except pypdfium2.PdfiumError as error:
        if error.err_code == pdfium.FPDF_ERR_PASSWORD:
            raise Refusal("ENCRYPTED", "The PDF is protected by a password; save it without one and train it again.") from error
        raise Refusal("CORRUPT", "The PDF is damaged or cut off and cannot be opened; save it again, or leave it out.") from error
    return document


@dataclass(frozen=True, slots=True)
class _Text:
    """The text layer of a page: its lines that hold a word, in reading order, and the share of letters that mean nothing."""

    lines: list[Line]
    letters: int
    unmapped: float

    @classmethod
    def of(cls, page: pypdfium2.PdfPage) -> _Text:
        """Reads it."""
        with contextlib.closing(page.get_textpage()) as words:
            whole: str = words.get_text_range()
            lines = list(_read_lines(words, whole, view_of(page)))
            return cls(lines, sum(len(line.text) for line in lines), _unmapped(words))

    @property
    def is_doubtful(self) -> bool:
        """Whether the page may say something else than its text."""
        return self.letters < _FEW_LETTERS or self.unmapped > _UNMAPPED


def _read_lines(words: pypdfium2.PdfTextPage, whole: str, view: View) -> Iterator[Line]:
    at = 0
    # Not every character of the string is one of pdfium's (pairs beyond the basic plane are two), so places drift a little on such pages.
    count = words.count_chars()
    for raw in whole.split("\n"):
        found = encoding.clean(raw.rstrip("\r"))
        if found.strip():
            first = min(at + len(raw) - len(raw.lstrip()), count - 1)
            last = min(at + len(raw.rstrip()) - 1, count - 1)
            begins = view.box(words.get_charbox(first, loose=True))
            ends = view.box(words.get_charbox(last, loose=True))
            # A line whose last word goes on in the next comes as one with it, and its foot is where that ends.
            box = (min(begins[0], ends[0]), begins[1], max(begins[2], ends[2]), ends[3])
            yield Line(found, begins[3] - begins[1], box, _is_bold(words, first))
        at += len(raw) + 1


def _is_bold(words: pypdfium2.PdfTextPage, index: int) -> bool:
    """By the font's name too, for many fonts do not tell their weight."""
    name = ctypes.create_string_buffer(128)
    pdfium.FPDFText_GetFontInfo(words, index, name, len(name), ctypes.byref(ctypes.c_int()))
    return pdfium.FPDFText_GetFontWeight(words, index) >= _BOLD_WEIGHT or any(word in name.value.lower() for word in _BOLD_NAMES)


def _unmapped(words: pypdfium2.PdfTextPage) -> float:
    count = min(words.count_chars(), _LETTERS_LOOKED_AT)
    unknown: int = sum(pdfium.FPDFText_HasUnicodeMapError(words, index) == 1 for index in range(count))
    return float(unknown / max(count, 1))


def _is_picture(page: pypdfium2.PdfPage, text: _Text) -> bool:
    """Whether a page is to be read as a picture: with anything on it if its text is none, else when a picture covers it."""
    if text.unmapped > _UNMAPPED:
        return True
    width, height = page.get_size()
    for found in page.get_objects(max_depth=3):
        if text.letters == 0:
            return True
        if found.type == pdfium.FPDF_PAGEOBJ_IMAGE:
            left, bottom, right, top = found.get_bounds()
            if (right - left) * (top - bottom) >= _WHOLE_PAGE * width * height:
                return True
    return False


def _has_rules(page: pypdfium2.PdfPage) -> bool:
    """Whether a page has as many drawn lines as a table has at least, and not as many as a drawing."""
    rules = page.get_objects(filter=(pdfium.FPDF_PAGEOBJ_PATH,), max_depth=3)
    return _FEWEST_RULES <= sum(1 for _ in islice(rules, _MOST_RULES + 1)) <= _MOST_RULES
