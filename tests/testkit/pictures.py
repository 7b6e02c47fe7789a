"""Pictures of text, as a scanner makes them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

import pypdfium2
from PIL import Image, ImageDraw, ImageFont

A4 = (1654, 2339)
"""At 200 dpi."""


def page(lines: Sequence[str], *, size: tuple[int, int] = A4, letters: int = 40, turned: int = 0) -> Image.Image:
    """A white page with these lines; ``turned`` by so many degrees."""
    picture = Image.new("RGB", size, "white")
    drawn = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=letters)
    for number, line in enumerate(lines):
        drawn.text((size[0] // 10, size[1] // 12 + number * letters * 1.5), line, "black", font)
    return picture.rotate(turned, expand=True)


def printed(content: bytes) -> Image.Image:
    """The first page of a PDF, whose font may have letters that ``page`` has not."""
    with contextlib.closing(pypdfium2.PdfDocument(content)) as document:
        picture: Image.Image = document[0].render(scale=200 / 72).to_pil()
        return picture


def saved(picture: Image.Image, kind: str, others: Sequence[Image.Image] = ()) -> bytes:
    """The file: ``PNG``, ``JPEG``, ``WEBP``, or ``TIFF`` and ``PDF`` with more pages."""
    out = io.BytesIO()
    more = {"save_all": True, "append_images": list(others)} if others else {}
    picture.save(out, kind, resolution=200, **more)
    return out.getvalue()
