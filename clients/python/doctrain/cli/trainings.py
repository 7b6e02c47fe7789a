"""The commands of tenants: train, watch, read, hold, retry and cancel trainings, store documents."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING

import click

from doctrain.cli import output, progress
from doctrain.cli.connection import Access
from doctrain.cli.session import DONE, NOT_COMPLETED, Session, connected

if TYPE_CHECKING:
    from doctrain.client import AsyncClient
    from doctrain.v1.training_pb2 import StartTrainingResponse, Training

TRAINING_STATES = ("queued", "processing", "completed", "completed_with_failures", "failed", "cancelled")
DOCUMENT_STATES = ("queued", "processing", "completed", "failed", "cancelled")
ERROR_CLASSES = ("permanent", "transient", "resource", "crash")
FAILURES_SHOWN = 10
"""Failed documents that are named at the end of a watch."""


@click.command()
@click.argument("folder", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--manifest", metavar="URI", help="Train the documents that this manifest names, instead of a folder's.")
@click.option("--pattern", default="**/*", show_default=True, help="Which files of the folder.")
@click.option(
    "--id", "training_task_id", help="The training's id; the same id and documents start nothing twice. Without it: a random one."
)
@click.option("--watch", "follow", is_flag=True, help="Stay until the training has ended; exit 1 unless it completed.")
@click.option("--dry-run", is_flag=True, help="Store the files and check everything, but start nothing.")
@connected(Access.TENANT)
async def train(
    session: Session,
    *,
    folder: Path | None,
    manifest: str | None,
    pattern: str,
    training_task_id: str | None,
    follow: bool,
    dry_run: bool,
) -> int:
    """Train the files of FOLDER (or one file), or the documents of a manifest.

    A document is named by its path below FOLDER; training it again replaces it.
    """
    if (folder is None) == (manifest is None):
        raise click.UsageError("Give either a folder or --manifest URI.")
    from doctrain.client import new_training_task_id

    training_task_id = training_task_id or new_training_task_id()
    async with session.client() as client:
        session.interrupt_hint = f"Interrupted. If the training was started already, it goes on: doctrain status {training_task_id}"
        if manifest is not None:
            started = await client.start_training(manifest_uri=manifest, training_task_id=training_task_id, validate_only=dry_run)
        else:
            assert folder is not None
            folder, pattern, files = _find(folder, pattern)
            with progress.storing(files, as_json=session.as_json) as storing:
                started = await client.train_folder(
                    folder,
                    pattern,
                    training_task_id=training_task_id,
                    validate_only=dry_run,
                    on_stored=lambda path: storing.stored(),
                )
        _tell_started(session, started, dry_run=dry_run, follow=follow)
        if dry_run or not follow:
            return DONE
        return await _watch(client, session, training_task_id, include_documents=False)


def _find(path: Path, pattern: str) -> tuple[Path, str, int]:
    """The folder, the pattern and the number of files to train; says which are left out because they are empty."""
    from doctrain import folder as folders

    if path.is_file():
        path, pattern = path.parent, glob.escape(path.name)
    found = folders.scan(path, pattern)
    if found.empty:
        named = ", ".join(output.printable(file.relative_to(path).as_posix()) for file in found.empty[:FAILURES_SHOWN])
        click.echo(f"Left out because they are empty ({len(found.empty)}): {named}", err=True)
    return path, pattern, len(found.files)


def _tell_started(session: Session, started: StartTrainingResponse, *, dry_run: bool, follow: bool) -> None:
    summary, training_task_id = started.summary, started.training.training_task_id
    if session.as_json:
        output.print_message(started)
        return
    what = f"{summary.documents} documents, at most {summary.max_concurrency} at once (plan {output.printable(summary.plan)})"
    if dry_run:
        click.echo(f"It can be trained: {what}.")
        if summary.duplicate_ids:
            named = ", ".join(output.printable(name) for name in summary.duplicate_ids[:FAILURES_SHOWN])
            click.echo(f"But there are duplicate ids: {named}.")
        return
    click.echo(f"Training {training_task_id}{' was started before' if summary.existed else ''}: {what}.")
    if not follow:
        click.echo(f"Follow it with: doctrain watch {training_task_id}")


async def _watch(client: AsyncClient, session: Session, training_task_id: str, *, include_documents: bool) -> int:
    """Shows the training until it has ended; the exit code says whether it completed."""
    session.interrupt_hint = (
        "Stopped watching; the training goes on.\n"
        f"Watch it again: doctrain watch {training_task_id}\nEnd it: doctrain cancel {training_task_id}"
    )
    last: Training | None = None
    with progress.following(as_json=session.as_json) as follower:
        async for update in client.watch(training_task_id, include_documents=include_documents):
            follower.show(update)
            last = update.training
    assert last is not None, "a watch ends after the last state or with an error"
    from doctrain.v1.training_pb2 import TRAINING_STATE_COMPLETED

    if not session.as_json:
        await _tell_end(client, last)
    return DONE if last.state == TRAINING_STATE_COMPLETED else NOT_COMPLETED


async def _tell_end(client: AsyncClient, training: Training) -> None:
    from doctrain.v1.training_pb2 import DOCUMENT_STATE_FAILED

    took = training.end_time.ToNanoseconds() - training.create_time.ToNanoseconds()
    time = f" in {took / 1e9:.1f} s" if training.HasField("end_time") else ""
    reason = f" {output.printable(training.reason)}" if training.reason else ""
    click.echo(
        f"{output.training_state(training).capitalize()}: {training.completed} documents trained, {training.failed} failed{time}.{reason}"
    )
    if not training.failed:
        return
    shown = 0
    async for document in client.list_documents(training.training_task_id, [DOCUMENT_STATE_FAILED], page_size=FAILURES_SHOWN):
        click.echo(f"  {output.document_sentence(document)}")
        shown += 1
        if shown == FAILURES_SHOWN:
            break
    if training.failed > shown:
        click.echo(f"All that failed: doctrain documents {training.training_task_id} --state failed")


@click.command()
@click.argument("training_task_id", metavar="ID")
@click.option("--documents", "include_documents", is_flag=True, help="Also show each document as it ends.")
@connected(Access.TENANT)
async def watch(session: Session, training_task_id: str, include_documents: bool) -> int:
    """Follow a training until it has ended; exit 1 unless it completed. Ctrl-C leaves it running."""
    async with session.client() as client:
        return await _watch(client, session, training_task_id, include_documents=include_documents)


@click.command()
@click.argument("training_task_id", metavar="ID")
@connected(Access.TENANT)
async def status(session: Session, training_task_id: str) -> None:
    """Show where a training stands."""
    async with session.client() as client:
        _tell_training(session, await client.get_training(training_task_id))


@click.command()
@click.argument("training_task_id", metavar="ID")
@connected(Access.TENANT)
async def cancel(session: Session, training_task_id: str) -> None:
    """End a training that has not ended; what was trained stays."""
    async with session.client() as client:
        _tell_training(session, await client.cancel(training_task_id))


@click.command()
@click.argument("training_task_id", metavar="ID")
@connected(Access.TENANT)
async def pause(session: Session, training_task_id: str) -> None:
    """Start nothing more of a training until it is resumed; what runs ends by itself."""
    async with session.client() as client:
        _tell_training(session, await client.pause(training_task_id))


@click.command()
@click.argument("training_task_id", metavar="ID")
@connected(Access.TENANT)
async def resume(session: Session, training_task_id: str) -> None:
    """Let a paused training go on."""
    async with session.client() as client:
        _tell_training(session, await client.resume(training_task_id))


@click.command()
@click.argument("training_task_id", metavar="ID")
@click.option(
    "--class", "classes", multiple=True, type=click.Choice(ERROR_CLASSES), help="Only what failed so; may be given more than once."
)
@click.option("--document", "document_ids", multiple=True, metavar="ID", help="Only this document; may be given more than once.")
@click.option("--id", "retry_task_id", help="The new training's id. Without it: a random one.")
@click.option("--watch", "follow", is_flag=True, help="Stay until the new training has ended; exit 1 unless it completed.")
@connected(Access.TENANT)
async def retry(
    session: Session,
    *,
    training_task_id: str,
    classes: tuple[str, ...],
    document_ids: tuple[str, ...],
    retry_task_id: str | None,
    follow: bool,
) -> int:
    """Train again what failed in a training, as a new training."""
    from doctrain.v1.training_pb2 import ErrorClass

    chosen = [ErrorClass.Value(f"ERROR_CLASS_{name.upper()}") for name in classes]
    async with session.client() as client:
        started = await client.retry_failed(training_task_id, error_classes=chosen, document_ids=document_ids, retry_task_id=retry_task_id)
        if not follow:
            _tell_training(session, started)
            return DONE
        return await _watch(client, session, started.training_task_id, include_documents=False)


@click.command()
@click.argument("training_task_id", metavar="ID")
@connected(Access.TENANT)
async def explain(session: Session, training_task_id: str) -> None:
    """Say why a training does not run, or not faster, and what to do."""
    async with session.client() as client:
        explained = await client.explain(training_task_id)
    if session.as_json:
        output.print_message(explained)
        return
    _tell_training(session, explained.training)
    for line in output.explanation(explained):
        click.echo(line)


def _tell_training(session: Session, training: Training) -> None:
    if session.as_json:
        output.print_message(training)
    else:
        click.echo(f"{training.training_task_id}  {output.training_sentence(training)}")


@click.command("list")
@click.option("--state", "states", multiple=True, type=click.Choice(TRAINING_STATES), help="Only those; may be given more than once.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(min=0), help="How many at most; 0: all.")
@connected(Access.TENANT)
async def list_trainings(session: Session, states: tuple[str, ...], limit: int) -> None:
    """List trainings, newest first."""
    from doctrain.v1.training_pb2 import TrainingState

    chosen = [TrainingState.Value(f"TRAINING_STATE_{state.upper()}") for state in states]
    trainings: list[Training] = []
    async with session.client() as client:
        async for training in client.list_trainings(chosen, page_size=min(limit, 500)):
            if session.as_json:
                output.print_message(training)
            trainings.append(training)
            if len(trainings) == limit:
                break
    if not session.as_json:
        rows = [
            (t.training_task_id, output.training_state(t), f"{t.completed}/{t.total}", t.failed, output.moment(t.create_time))
            for t in trainings
        ]
        output.print_table(("ID", "STATE", "TRAINED", "FAILED", "STARTED"), rows, nothing="No trainings.")


@click.command()
@click.argument("training_task_id", metavar="ID")
@click.option("--state", "states", multiple=True, type=click.Choice(DOCUMENT_STATES), help="Only those; may be given more than once.")
@connected(Access.TENANT)
async def documents(session: Session, training_task_id: str, states: tuple[str, ...]) -> None:
    """List a training's documents in their order, with what went wrong."""
    from doctrain.v1.training_pb2 import DocumentState

    chosen = [DocumentState.Value(f"DOCUMENT_STATE_{state.upper()}") for state in states]
    async with session.client() as client:
        async for document in client.list_documents(training_task_id, chosen, page_size=1000):
            if session.as_json:
                output.print_message(document)
            else:
                click.echo(output.document_sentence(document))


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@connected(Access.TENANT)
async def upload(session: Session, files: tuple[Path, ...]) -> None:
    """Store FILES and print the URI of each, for a manifest."""
    async with session.client() as client:
        for path in files:
            stored = await client.upload(path)
            if session.as_json:
                output.print_json({"path": str(path), **output.as_dict(stored)})
            else:
                click.echo(f"{stored.uri}  {output.printable(str(path))}")


COMMANDS: tuple[click.Command, ...] = (train, watch, status, explain, cancel, pause, resume, retry, list_trainings, documents, upload)
