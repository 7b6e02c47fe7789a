"""The hostile corpus: small files of 14 kinds, each with the ends that it may come to."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from hostile import drawn, good, packed, pdfs, texts
from hostile.document import DAMAGE, OK, Hostile, hostile

TEXTS = (".txt", ".md", ".csv", ".json", ".html", ".eml", ".rtf", ".xml")
"""What is left of these says something too."""

MENDED = (".pdf", ".tif", ".msg", ".jpg", ".png", ".webp", ".gif", ".tar", ".tar.gz", ".tar.xz")
"""Of these a library mends some, or reads what stands before the cut."""

KINDS = (
    *("deep", "empty", "encrypted", "entities", "long", "loops", "nested archives", "odd names", "pixel bomb"),
    *("scrambled", "too many pages", "truncated", "wrong type", "zip bomb"),
)


@cache
def corpus() -> tuple[Hostile, ...]:
    """All of them."""
    makers = (
        *(_empty, _truncated, _wrong_type, pdfs.encrypted, packed.encrypted, pdfs.too_many_pages, drawn.frames),
        *(packed.bombs, pdfs.bombs, drawn.bombs, packed.nested, packed.entities, packed.odd_names),
        *(texts.deep, pdfs.loops, packed.loops, texts.long, texts.scrambled),
    )
    return tuple(found for maker in makers for found in maker())


def _empty() -> Iterator[Hostile]:
    for name, content in {
        "nothing.pdf": b"",
        "space.txt": b" \n\t" * 99,
        "marks.txt": b"\xef\xbb\xbf\n",
        "zeros.docx": bytes(5000),
    }.items():
        yield hostile("empty", name, content, "EMPTY")


def _truncated() -> Iterator[Hostile]:
    for name, content in good.documents_by_name().items():
        whole = [OK] if name.endswith((*TEXTS, *MENDED)) else []
        for share in (0.1, 0.3, 0.6, 0.9, 0.98):
            cut = content[: int(len(content) * share)]
            yield hostile("truncated", f"{share:.0%} of {name}", cut, *whole, DAMAGE, "UNSUPPORTED", "WRONG_TYPE")


def _wrong_type() -> Iterator[Hostile]:
    program = b"\x7fELF\x02\x01\x01" + bytes(200)
    for name in ("report.pdf", "report.docx", "picture.png", "page.html"):
        yield hostile("wrong type", name, program, "WRONG_TYPE")
    yield hostile("wrong type", "noise.pdf", bytes(range(256)) * 8, "WRONG_TYPE")
    yield hostile("wrong type", "film.mp4", b"RIFF\x10\0\0\0AVI LIST", "WRONG_TYPE", "UNSUPPORTED")
    for name, content in good.documents_by_name().items():
        if not name.endswith(TEXTS):
            yield hostile("wrong type", f"{name}.txt", content, OK, "UNSUPPORTED")
