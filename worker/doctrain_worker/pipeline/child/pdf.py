"""PDF to Markdown by pdfium: text in reading order, headings by the size of their letters, exact pages.

kreuzberg was tried: it finds tables, but it loses paragraphs beside them, turns right-to-left lines round, and takes
lines of CJK for headings. A document for search must be whole first.
"""

from __future__ import annotations

import ctypes

import pypdfium2
from pypdfium2 import raw as pdfium

from doctrain_worker.core import layout
from doctrain_worker.core.layout import Line
from doctrain_worker.pipeline.child import encoding, media
from doctrain_worker.pipeline.wire import DocumentText
from doctrain_worker.sandbox.refusal import Refusal

_BOLD_WEIGHT = 600
_BOLD_NAMES = (b"bold", b"black", b"heavy")
_BETWEEN_PAGES = "\n\n"


def read(content: bytes) -> DocumentText:
    """The text of all pages. Raises Refusal ENCRYPTED, CORRUPT or NO_TEXT."""
    pages = _pages(content)
    without = sum(not lines for lines in pages)
    if without == len(pages):
        raise Refusal("NO_TEXT", "The PDF holds pictures of pages but no text; run text recognition (OCR) on it first, then train it.")
    style = layout.style_of(pages)
    parts, starts, at = [], [], 0
    for lines in pages:
        part = layout.page_markdown(lines, style)
        starts.append(at)
        parts.append(part)
        at += len(part) + len(_BETWEEN_PAGES)
    return DocumentText(_BETWEEN_PAGES.join(parts), media.PDF, tuple(starts), without)


def _pages(content: bytes) -> list[list[Line]]:
    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        if error.err_code == pdfium.FPDF_ERR_PASSWORD:
            raise Refusal("ENCRYPTED", "The PDF is protected by a password; save it without one and train it again.") from error
        raise Refusal("CORRUPT", "The PDF is damaged or cut off and cannot be opened; save it again, or leave it out.") from error
    try:
        return [_lines(document, number) for number in range(len(document))]
    finally:
        document.close()


def _lines(document: pypdfium2.PdfDocument, number: int) -> list[Line]:
    """The lines of a page that hold a word, in reading order."""
    try:
        page = document[number]
        words = page.get_textpage()
        whole: str = words.get_text_range()
    except pypdfium2.PdfiumError:
        return []  # one broken page of a document that opens; the others count
    lines = []
    at = 0
    # Not every character of the string is one of pdfium's (pairs beyond the basic plane are two), so places drift a little on such pages.
    count = words.count_chars()
    for raw in whole.split("\n"):
        found = encoding.clean(raw.rstrip("\r"))
        if found.strip():
            first = min(at + len(raw) - len(raw.lstrip()), count - 1)
            _, bottom, _, top = words.get_charbox(first, loose=True)
            lines.append(Line(found, top - bottom, top, bottom, _is_bold(words, first)))
        at += len(raw) + 1
    page.close()
    return lines


def _is_bold(words: pypdfium2.PdfTextPage, index: int) -> bool:
    """By the font's name too, for many fonts do not tell their weight."""
    name = ctypes.create_string_buffer(128)
    pdfium.FPDFText_GetFontInfo(words, index, name, len(name), ctypes.byref(ctypes.c_int()))
    return pdfium.FPDFText_GetFontWeight(words, index) >= _BOLD_WEIGHT or any(word in name.value.lower() for word in _BOLD_NAMES)
