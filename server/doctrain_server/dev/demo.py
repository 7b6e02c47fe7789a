"""``make demo``: trains documents on an embedded mesh in a temporary folder, shows what happened, and searches them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click

import doctrain
from doctrain.v1 import training_pb2 as pb
from doctrain_mesh import settings as settings_module
from doctrain_mesh.errors import ConfigurationError
from doctrain_mesh.observability import logs
from doctrain_server.dev.embedded import Embedded, embedded_mesh
from doctrain_server.dev.spans import Recorder
from doctrain_server.services.signals import stop_requested

CORPUS = Path(__file__).resolve().parents[3] / "corpus"
QUESTIONS = ("what to do about mites in a hive", "why does my chain jump", "when is the sea highest")
"""That the shipped corpus answers."""
HITS = 2


async def run_demo(folder: Path | None, *, keep: bool) -> int:
    """Trains the folder, or the shipped corpus and searches that; answers an exit code: 0 when every document was trained.

    With ``keep`` it stays up at the end until it is told to stop.
    """
    documents = folder or CORPUS
    if not documents.is_dir():
        raise ConfigurationError(f"There is no folder {documents}; name one with --folder.")
    logs.configure("WARNING", "text")
    with Recorder() as recorder, tempfile.TemporaryDirectory(prefix="doctrain-demo-") as data:
        settings = settings_module.load({}, listen="127.0.0.1:0", dashboard_listen="127.0.0.1:0", trace_documents=1.0)
        started = time.monotonic()
        click.echo("Starting Postgres, a coordinator and two workers ...")
        async with (
            embedded_mesh(Path(data), settings, workers=2) as mesh,
            doctrain.AsyncClient(mesh.address, api_key=mesh.tenant_key) as client,
        ):
            click.echo(f"Ready on {mesh.address} after {time.monotonic() - started:.1f} s.")
            click.echo(f"Its dashboard is {mesh.dashboard}\n")
            training = await _train(client, documents)
            await _search(client, QUESTIONS if folder is None else ())
            if keep:
                await _stay(mesh)
        click.echo("\nWhere the time went, from the spans of its trace:")
        for line in recorder.summary(training.trace_id):
            click.echo(f"  {line}")
    return 0 if training.state == pb.TRAINING_STATE_COMPLETED else 1


async def _stay(mesh: Embedded) -> None:
    async with stop_requested() as stop:
        click.echo(f"\nIt stays up, and goes with all its data at Ctrl-C. Sign in to {mesh.dashboard} with a key:")
        click.echo(f"  operator  {mesh.operator_key}\n  tenant    {mesh.tenant_key}")
        await stop.wait()


async def _train(client: doctrain.AsyncClient, documents: Path) -> pb.Training:
    click.echo(f"Uploading and training {documents.name}/ ...")
    training = (await client.train_folder(documents)).training
    async for update in client.watch(training.training_task_id, include_documents=True):
        for document in update.documents:
            click.echo(f"  {_outcome(document)}")
        if update.training.message != training.message:
            click.echo(f"  {update.training.message}")
        training = update.training
    click.echo(f"\nIt is training {training.training_task_id}, trace {training.trace_id}.")
    return training


def _outcome(document: pb.Document) -> str:
    if document.state == pb.DOCUMENT_STATE_FAILED:
        return f"failed   {document.document_id}: {document.error.message}"
    stages = ", ".join(map(_stage, document.stages))
    return f"trained  {document.document_id} in {document.duration.ToMilliseconds()} ms: {stages}"


def _stage(stage: pb.DocumentStage) -> str:
    pages = stage.counts.get("pages", 0) if stage.name == "ocr" else 0
    recognised = f" of {pages} page{'s' if pages > 1 else ''}" if pages else ""
    return f"{stage.name}{recognised} {stage.duration.ToMilliseconds()}"


async def _search(client: doctrain.AsyncClient, questions: Sequence[str]) -> None:
    index = await client.get_index()
    click.echo(f"The index holds {index.chunk_count} passages of {index.document_count} documents.")
    for question in questions:
        click.echo(f"\nSearching: {question}")
        for hit in await client.search(question, limit=HITS):
            page = f", page {hit.page}" if hit.page else ""
            click.echo(f"  {hit.score:.2f}  {hit.document_id}{page}{f': {hit.heading}' if hit.heading else ''}")
            click.echo(f"        {hit.snippet}")
