"""Whether a question finds its document: a folder is trained in a mesh of its own, and ``QUERIES.tsv`` is asked."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import doctrain
from benchmarks.quality.samples import Query, Sample
from doctrain.v1 import training_pb2
from doctrain_mesh import settings
from doctrain_server.dev.embedded import embedded_mesh

FIRST = 5
OK = ("ok", "ok-with-ocr")
MODES = ("hybrid", "vectors", "words")


@dataclass(frozen=True, slots=True)
class Retrieval:
    """A question, and for each of ``MODES`` the place of the first passage that answers it, from 1; 0 where none of the first five does."""

    query: Query
    places: tuple[int, ...]

    @property
    def is_right(self) -> bool:
        """Whether the mode that is the default finds it."""
        return self.places[0] > 0


async def retrievals(samples: Sequence[Sample], queries: Sequence[Query]) -> list[Retrieval]:
    """Trains all documents that can be read, then asks."""
    with tempfile.TemporaryDirectory() as folder:
        chosen = settings.load({}, listen="127.0.0.1:0", log_level="ERROR")
        async with (
            embedded_mesh(Path(folder), chosen, workers=1) as mesh,
            doctrain.AsyncClient(mesh.address, api_key=mesh.tenant_key) as client,
        ):
            await _train(client, samples)
            return [Retrieval(query, tuple([await _place(client, query, mode) for mode in MODES])) for query in queries]


async def _train(client: doctrain.AsyncClient, samples: Sequence[Sample]) -> None:
    readable = [sample.path for sample in samples if sample.expected in OK]
    documents = [training_pb2.DocumentInput(document_id=path.name, uri=(await client.upload(path)).uri) for path in readable]
    await client.wait((await client.start_training(documents)).training.training_task_id)


async def _place(client: doctrain.AsyncClient, query: Query, mode: str) -> int:
    hits = await client.search(query.text, mode=mode, limit=FIRST)
    return next((place for place, hit in enumerate(hits, 1) if hit.document_id == query.file and query.page in (0, hit.page)), 0)


def table(found: Sequence[Retrieval]) -> str:
    """The questions and the shares, in Markdown."""
    lines = [f"| question | document | {' | '.join(MODES)} |", "|---" * (2 + len(MODES)) + "|"]
    for one in found:
        page = f", page {one.query.page}" if one.query.page else ""
        lines.append(f"| {one.query.text} | {one.query.file}{page} | {' | '.join(str(place or '-') for place in one.places)} |")
    lines += ["", f"| of {len(found)} questions | {' | '.join(MODES)} |", "|---" * (1 + len(MODES)) + "|"]
    for name, most in (("first", 1), (f"among the first {FIRST}", FIRST)):
        shares = [sum(0 < one.places[mode] <= most for one in found) for mode in range(len(MODES))]
        lines.append(f"| {name} | {' | '.join(map(str, shares))} |")
    return "\n".join(lines)
