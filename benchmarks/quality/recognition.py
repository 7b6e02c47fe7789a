"""How many letters text recognition gets wrong: pages whose text is known are drawn, and read from the picture."""

from __future__ import annotations

import io
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pypdfium2

from benchmarks.quality.distance import error_rate
from benchmarks.quality.phrases import normal
from benchmarks.quality.samples import Sample
from testkit.parsers import Parsers

DPI = 200
FEWEST_LETTERS = 300
MOST_PAGES = 3
"""Of one document."""

LATIN = 0.9
"""Pages with a smaller share of Latin letters are in languages that are not recognised by default."""


@dataclass(frozen=True, slots=True)
class Recognition:
    """A page: its document, its number, how many letters it has, and the share of them that was wrong."""

    name: str
    page: int
    letters: int
    error_rate: float


async def recognitions(parsers: Parsers, samples: Sequence[Sample]) -> list[Recognition]:
    """All pages of born-digital PDF that have text enough."""
    found = []
    for sample in samples:
        if sample.path.suffix == ".pdf" and sample.expected == "ok":
            for number, picture, said in _pages(sample.path.read_bytes()):
                outcome = await parsers.read(picture, "page.png")
                found.append(Recognition(sample.path.name, number, len(said), error_rate(normal(said), normal(outcome.text))))
    return found


def _pages(content: bytes) -> Iterator[tuple[int, bytes, str]]:
    """Pages with their pictures and their text as pdfium has it, soft hyphens joined."""
    document = pypdfium2.PdfDocument(content)
    for number in range(min(len(document), MOST_PAGES)):
        page = document[number]
        said = page.get_textpage().get_text_range().replace("\ufffe", "").replace("\u00ad", "")
        letters = [letter for letter in said if letter.isalpha()]
        if len(letters) >= FEWEST_LETTERS and sum(letter < "\u0250" for letter in letters) >= LATIN * len(letters):
            out = io.BytesIO()
            page.render(scale=DPI / 72).to_pil().save(out, "PNG")
            yield number + 1, out.getvalue(), said


def table(found: Sequence[Recognition]) -> str:
    """The pages, in Markdown."""
    lines = ["| document | page | letters | character error rate |", "|---|---|---|---|"]
    lines += [f"| {one.name} | {one.page} | {one.letters} | {one.error_rate:.2%} |" for one in found]
    if found:
        rates = [one.error_rate for one in found]
        lines += ["", f"Median {statistics.median(rates):.2%}, mean {statistics.fmean(rates):.2%} of {len(found)} pages."]
    return "\n".join(lines)
