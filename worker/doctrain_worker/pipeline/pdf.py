"""PDF to Markdown: kreuzberg for headings, tables and the order of columns; pdfium for pages, passwords and what is left."""

from __future__ import annotations

import pypdfium2
from pypdfium2 import raw as pdfium

from doctrain_worker.core.pages import page_starts, unwrap_cjk
from doctrain_worker.pipeline import markdown, media, text
from doctrain_worker.pipeline.readable import Readable
from doctrain_worker.sandbox.refusal import Refusal

_PLAIN_SHARE = 0.3
_BETWEEN_PAGES = "\n\n"


def read(content: bytes) -> Readable:
    """The text of all pages. Raises Refusal ENCRYPTED, CORRUPT or NO_TEXT."""
    pages = _page_texts(content)
    without = sum(not page.strip() for page in pages)
    if without == len(pages):
        raise Refusal("NO_TEXT", "The PDF holds pictures of pages but no text; recognise the text first (OCR), then train it.")
    whole = _BETWEEN_PAGES.join(pages)
    if _better_plain(whole):
        pages = [unwrap_cjk(page) for page in pages]
        whole = _BETWEEN_PAGES.join(pages)
        starts = []
        at = 0
        for page in pages:
            starts.append(at)
            at += len(page) + len(_BETWEEN_PAGES)
        return Readable(whole, media.PDF, tuple(starts), without)
    converted = text.clean(markdown.convert(content, media.PDF))
    if not converted.strip():
        converted = whole
    return Readable(converted, media.PDF, page_starts(converted, pages), without)


def _page_texts(content: bytes) -> list[str]:
    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        if error.err_code == pdfium.FPDF_ERR_PASSWORD:
            raise Refusal("ENCRYPTED", "The PDF is protected by a password; save it without one and train it again.") from error
        raise Refusal("CORRUPT", "The PDF is damaged or cut off and cannot be opened.") from error
    try:
        return [_page_text(document, number) for number in range(len(document))]
    finally:
        document.close()


def _page_text(document: pypdfium2.PdfDocument, number: int) -> str:
    try:
        page = document[number]
        found: str = page.get_textpage().get_text_range()
    except pypdfium2.PdfiumError:
        return ""  # one broken page of a document that opens; the others count
    return text.clean(found)


def _better_plain(whole: str) -> bool:
    """Whether kreuzberg would spoil it: it turns the words of right-to-left lines round, and takes lines of CJK for headings."""
    letters = [character for character in whole if character.isalpha()]
    return sum(_is_other_script(character) for character in letters) > len(letters) * _PLAIN_SHARE


def _is_other_script(character: str) -> bool:
    # Hebrew, Arabic and their neighbours; CJK and Hangul; the forms in which PDFs hold Arabic letters.
    return "\u0590" <= character <= "\u08ff" or "\u2e80" <= character <= "\ud7af" or "\uf900" <= character <= "\ufefc"
