"""Reads each document of a folder in a child, and looks for what must be found in it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.quality.phrases import Search, search
from benchmarks.quality.samples import Sample
from testkit.parsers import Outcome, Parsers


@dataclass(frozen=True, slots=True)
class Reading:
    """What became of a document, what was found in it, and the seconds that it took."""

    sample: Sample
    outcome: Outcome
    search: Search
    seconds: float

    @property
    def recognised(self) -> int:
        """Pages that were read by OCR."""
        return int(self.outcome.facts.get("ocr", {}).get("pages", 0))

    @property
    def is_right(self) -> bool:
        """Whether all is as the manifest says."""
        ended = self.sample.is_as_expected(self.outcome.code, recognised=self.recognised > 0, empty=not self.outcome.chunks)
        return ended and not self.search.missing and (self.search.in_order or not self.sample.ordered)


async def readings(parsers: Parsers, samples: Sequence[Sample]) -> list[Reading]:
    """Reads all of them, one after the other."""
    return [await _reading(parsers, sample) for sample in samples]


async def _reading(parsers: Parsers, sample: Sample) -> Reading:
    content = await asyncio.to_thread(sample.path.read_bytes)
    clock = time.perf_counter()
    outcome = await parsers.read(content, sample.path.name)
    return Reading(sample, outcome, search(outcome.text, sample.phrases), time.perf_counter() - clock)


def table(found: Sequence[Reading]) -> str:
    """The documents, in Markdown."""
    lines = ["| document | expected | ended | phrases | in order | OCR pages | chunks | seconds | |", "|---" * 9 + "|"]
    for one in found:
        told = len(one.sample.phrases) - len(one.search.missing)
        order = "yes" if one.search.in_order else "no"
        lines.append(
            f"| {one.sample.path.name} | {one.sample.expected} | {one.outcome.code} | {told} of {len(one.sample.phrases)} "
            f"| {order if one.sample.phrases else ''} | {one.recognised or ''} | {len(one.outcome.chunks)} | {one.seconds:.2f} "
            f"| {'' if one.is_right else '**wrong**'} |"
        )
    phrases = sum(len(one.sample.phrases) for one in found)
    missing = sum(len(one.search.missing) for one in found)
    right = sum(one.is_right for one in found)
    lines += ["", f"{right} of {len(found)} documents as expected, {phrases - missing} of {phrases} phrases found."]
    lines += [f"Missing in {one.sample.path.name}: {phrase!r}" for one in found for phrase in one.search.missing]
    return "\n".join(lines)
