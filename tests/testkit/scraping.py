"""Metrics as Prometheus reads them."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from testkit.mesh import Part

SCRAPE_SECONDS = 10.0


@dataclass(frozen=True)
class Scrape:
    """The samples of one scrape, by name and labels."""

    samples: Mapping[tuple[str, frozenset[tuple[str, str]]], float]

    def total(self, name: str, **labels: str) -> float:
        """The sum of the series that have these labels; 0 without any."""
        return sum(self.series(name, **labels))

    def series(self, name: str, **labels: str) -> list[float]:
        """Their values."""
        return [value for (known, its), value in self.samples.items() if known == name and its >= labels.items()]


async def scrape(url: str) -> Scrape:
    """What is served there."""

    def read() -> str:
        with urllib.request.urlopen(url, timeout=SCRAPE_SECONDS) as answer:
            return str(answer.read().decode())

    families = text_string_to_metric_families(await asyncio.to_thread(read))
    samples = [sample for family in families for sample in family.samples]
    found = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    assert len(found) == len(samples), "a series was told twice"
    return Scrape(found)


def url_of(part: Part) -> str:
    """Where a part's log says that it serves its metrics."""
    said = re.search(r"Metrics are served at (\S+)\.", part.log.read_text())
    assert said is not None
    return said[1]
