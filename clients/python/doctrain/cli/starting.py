"""The commands of tenants that start and follow trainings: train, retry, watch and upload."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from doctrain.cli import output, progress, times
from doctrain.cli.choices import ERROR_CLASS, MEDIA_TYPE, PAIR, by_key
from doctrain.cli.connection import Access
from doctrain.cli.session import DONE, NOT_COMPLETED, USAGE, Session, connected

if TYPE_CHECKING:
    from doctrain.client import AsyncClient
    from doctrain.folder import Scan, Skipped
    from doctrain.v1.training_pb2 import StartTrainingResponse, Training, TrainingSummary

FAILURES_SHOWN = 10
"""Documents that are named at the end of a watch, of those that failed and of those that were trained without some of their parts."""
LOOKED_THROUGH = 1_000
"""Of so many trained documents those are looked for that were trained without some of their parts: one page."""


@click.command()
@click.argument("folders", metavar="[FOLDER]", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--manifest", metavar="URI|FILE", help="Train what this manifest names, instead of a folder; a file is stored first, but for a dry run."
)
@click.option("--pattern", default="**/*", show_default=True, help="Which files of the folder.")
@click.option("--prefix", default="", help="What the documents' names begin with; keeps files of the same path in several folders apart.")
@click.option("--metadata", "pairs", multiple=True, type=PAIR, help="A pair of every document's metadata; may be given more than once.")
@click.option(
    "--type",
    "media_type",
    default=None,
    type=MEDIA_TYPE,
    metavar="TYPE",
    help="Of every document, as text/markdown; without it: by its name.",
)
@click.option("--unpack", is_flag=True, help="Read what is in archives (ZIP, tar) and compressed files, as parts of them.")
@click.option("--strict", is_flag=True, help="Start nothing when a file cannot be trained, instead of leaving it out.")
@click.option(
    "--id", "training_task_id", help="The training's id; the same id and documents start nothing twice. Without it: a random one."
)
@click.option("--watch", "follow", is_flag=True, help="Stay until the training has ended; exit 1 unless it completed.")
@click.option("--dry-run", is_flag=True, help="Check all but the documents' content, store and start nothing; exit as the start would.")
@click.option("--retrain", is_flag=True, help="Read documents again that the index holds already as they are now.")
@connected(Access.TENANT)
async def train(
    session: Session,
    *,
    folders: tuple[Path, ...],
    manifest: str | None,
    pattern: str,
    prefix: str,
    pairs: tuple[tuple[str, str], ...],
    media_type: str | None,
    unpack: bool,
    strict: bool,
    training_task_id: str | None,
    follow: bool,
    dry_run: bool,
    retrain: bool,
) -> int:
    """Train the files of a folder, or what a manifest names.

    FOLDER may be one file. A document is named by its path below FOLDER; training that name again replaces it. Files that cannot be
    trained are left out and listed; hidden ones are left out.
    """
    _check_source(folders, manifest, labelled=bool(pairs or media_type or unpack))
    metadata = by_key(pairs)
    from doctrain import words
    from doctrain.requests import new_training_task_id

    words.check_training_task_id(training_task_id)
    training_task_id = training_task_id or new_training_task_id()
    skipped: Sequence[Skipped] = ()
    async with session.client() as client:
        session.interrupt_hint = f"Interrupted. If the training was started already, it goes on: doctrain status {training_task_id}"
        if manifest is not None:
            from doctrain import manifests

            is_uri = "://" in manifest
            place = {"manifest_uri": manifest} if is_uri else await manifests.place_of_file(client, Path(manifest), stores=not dry_run)
            started = await client.start_training(**place, training_task_id=training_task_id, validate_only=dry_run, retrain=retrain)
        else:
            from doctrain import storing
            from doctrain.folder import Labels

            found = await storing.scanned(folders[0], pattern, Labels(prefix, metadata, media_type or "", unpack), strict=False)
            started, skipped = await _train_folder(
                client, session, found, training_task_id, strict=strict, dry_run=dry_run, retrain=retrain
            )
        _tell_started(session, started, skipped, of="line" if manifest else "file", dry_run=dry_run, follow=follow)
        if dry_run:
            return USAGE if started.summary.duplicate_ids else DONE
        if not follow:
            return DONE
        return await _watch(client, session, training_task_id, include_documents=False)


def _check_source(folders: Sequence[Path], manifest: str | None, *, labelled: bool) -> None:
    if len(folders) > 1:
        raise click.UsageError("Give one folder or one file. To train several files of a folder, give the folder and --pattern '*.md'.")
    if bool(folders) == (manifest is not None):
        raise click.UsageError("Give either a folder or --manifest URI.")
    if manifest is not None and labelled:
        raise click.UsageError("--metadata, --type and --unpack are for folders; a manifest says them in its lines.")
    if manifest is not None and "://" not in manifest:
        _check_file(Path(manifest))


def _check_file(manifest: Path) -> None:
    if not manifest.exists():
        raise click.UsageError(f"--manifest: {manifest} is no URI, and there is no file of that name.")
    if not manifest.is_file():
        what = "a folder; to train its files, give it without --manifest" if manifest.is_dir() else "no regular file"
        raise click.UsageError(f"--manifest: {manifest} is {what}.")


async def _train_folder(
    client: AsyncClient, session: Session, found: Scan, training_task_id: str, *, strict: bool, dry_run: bool, retrain: bool
) -> tuple[StartTrainingResponse, Sequence[Skipped]]:
    """Stores and starts; answers with what was left out, which a person is told before anything is sent."""
    if not strict:
        _tell_skipped(session, found.skipped)
    skipped: list[Skipped] = []
    with progress.storing(len(found.files), as_json=session.as_json) as storing:
        started = await client.train_folder(
            found,
            training_task_id=training_task_id,
            validate_only=dry_run,
            retrain=retrain,
            strict=strict,
            on_skipped=skipped.append,
            on_stored=storing.stored,
        )
    _tell_skipped(session, skipped[len(found.skipped) :])
    return started, skipped


def _tell_skipped(session: Session, skipped: Sequence[Skipped]) -> None:
    if not session.as_json:
        for line in output.skipped_lines(skipped):
            click.echo(line, err=True)


def _tell_started(
    session: Session, started: StartTrainingResponse, skipped: Sequence[Skipped], *, of: str, dry_run: bool, follow: bool
) -> None:
    """``of``: what a document is here, a ``file`` of a folder or a ``line`` of a manifest."""
    from doctrain.watch import has_ended

    summary, training_task_id = started.summary, started.training.training_task_id
    if session.as_json:
        from doctrain.folder import shown

        left_out = [{"path": shown(one.path), "reason": one.reason} for one in skipped]
        output.print_json({**output.as_dict(started), "skipped": left_out})
        return
    limit = f"at most {summary.max_concurrency:,} at once (plan {output.printable(summary.plan)})"
    if dry_run:
        _tell_dry_run(summary, limit, of)
        return
    if summary.existed and has_ended(started.training):
        click.echo(
            f"Training {training_task_id} has ended before, so nothing was started. It is {output.training_sentence(started.training)}."
        )
        untrained = started.training.completed < started.training.total
        rest = f"; what it did not train: doctrain retry {training_task_id}" if untrained else "."
        click.echo(f"To train these documents again, choose another --id{rest}")
        return
    so_far = " read so far, the rest follows" if summary.partial else ""
    existed = " was started before" if summary.existed else ""
    click.echo(f"Training {training_task_id}{existed}: {output.count(summary.documents)}{so_far}, {limit}.")
    if not follow:
        _tell_how_to_follow(session, training_task_id)


def _tell_how_to_follow(session: Session, training_task_id: str) -> None:
    click.echo(f"Follow it with: {session.command('watch', training_task_id)}")


def _tell_dry_run(summary: TrainingSummary, limit: str, of: str) -> None:
    if summary.duplicate_ids:
        named = ", ".join(output.printable(name) for name in summary.duplicate_ids[:FAILURES_SHOWN])
        more = " and others" if len(summary.duplicate_ids) > FAILURES_SHOWN else ""
        click.echo(f"It cannot be trained: every document needs an id of its own, and these are duplicates: {named}{more}.")
    elif summary.existed:
        click.echo("A training of this id and these documents was started before; nothing more would be started.")
    elif summary.partial:
        lines = f"{of} is" if summary.manifest_lines == 1 else f"{summary.manifest_lines:,} {of}s are"
        click.echo(f"The first {lines} good ({output.count(summary.documents)}, {limit}); the rest was not read.")
    else:
        click.echo(f"It can be trained: {output.count(summary.documents)}, {limit}.")


async def _watch(client: AsyncClient, session: Session, training_task_id: str, *, include_documents: bool) -> int:
    """Shows the training until it has ended; the exit code says whether it completed."""
    session.interrupt_hint = (
        "Stopped watching; the training goes on.\n"
        f"Watch it again: {session.command('watch', training_task_id)}\nEnd it: {session.command('cancel', training_task_id)}"
    )
    last: Training | None = None
    with progress.following(as_json=session.as_json) as follower:
        told = progress.Interruptions(follower).take
        async for update in client.watch(training_task_id, include_documents=include_documents, on_interrupted=told):
            follower.show(update)
            last = update.training
    assert last is not None, "a watch ends after the last state or with an error"
    from doctrain.v1.training_pb2 import TRAINING_STATE_COMPLETED

    if not session.as_json:
        await _tell_end(client, session, last)
    return DONE if last.state == TRAINING_STATE_COMPLETED else NOT_COMPLETED


async def _tell_end(client: AsyncClient, session: Session, training: Training) -> None:
    from doctrain.v1.training_pb2 import DOCUMENT_STATE_FAILED

    time = ""
    if training.HasField("end_time"):
        elapsed = (training.end_time.ToNanoseconds() - training.create_time.ToNanoseconds()) / 1e9
        time = f" in {times.span(elapsed)}"
    reason = f" {output.printable(training.reason)}" if training.reason else ""
    unchanged = f" ({training.unchanged:,} unchanged)" if training.unchanged else ""
    trained = f"{output.count(training.completed)} trained{unchanged}, {training.failed:,} failed"
    click.echo(f"{output.training_state(training).capitalize()}: {trained}{time}.{reason}")
    if training.failed:
        shown = 0
        async for document in client.list_documents(training.training_task_id, [DOCUMENT_STATE_FAILED], page_size=FAILURES_SHOWN):
            click.echo(f"  {output.document_sentence(document)}")
            shown += 1
            if shown == FAILURES_SHOWN:
                break
        if training.failed > shown:
            click.echo(f"All that failed: {session.command('documents', training.training_task_id, '--state', 'failed')}")
    if 0 < training.completed <= LOOKED_THROUGH:
        await _tell_unread(client, training)


async def _tell_unread(client: AsyncClient, training: Training) -> None:
    """Names documents that were trained without some of their parts."""
    from doctrain.v1.training_pb2 import DOCUMENT_STATE_COMPLETED

    found = 0
    async for document in client.list_documents(training.training_task_id, [DOCUMENT_STATE_COMPLETED], page_size=LOOKED_THROUGH):
        if output.unread(document):
            found += 1
            if found <= FAILURES_SHOWN:
                click.echo(f"  {output.document_sentence(document)}")
    if found > FAILURES_SHOWN:
        click.echo(f"  and {found - FAILURES_SHOWN:,} more that were trained without some of their parts")


@click.command()
@click.argument("training_task_id", metavar="ID")
@click.option("--documents", "include_documents", is_flag=True, help="Also show each document as it ends.")
@connected(Access.TENANT, for_tenant=True)
async def watch(session: Session, training_task_id: str, include_documents: bool) -> int:
    """Follow a training until it has ended.

    Exits 1 unless it completed. Ctrl-C leaves it running.
    """
    async with session.client() as client:
        return await _watch(client, session, training_task_id, include_documents=include_documents)


@click.command()
@click.argument("training_task_id", metavar="ID")
@click.option("--class", "classes", multiple=True, type=ERROR_CLASS, help="Only what failed so; may be given more than once.")
@click.option("--document", "document_ids", multiple=True, metavar="ID", help="Only this document; may be given more than once.")
@click.option("--id", "retry_task_id", help="The new training's id. Without it: a random one.")
@click.option("--watch", "follow", is_flag=True, help="Stay until the new training has ended; exit 1 unless it completed.")
@connected(Access.TENANT, for_tenant=True)
async def retry(
    session: Session,
    *,
    training_task_id: str,
    classes: tuple[str, ...],
    document_ids: tuple[str, ...],
    retry_task_id: str | None,
    follow: bool,
) -> int:
    """Train again what failed or was cancelled.

    As a new training; the other one stays as it is.
    """
    async with session.client() as client:
        started = await client.retry_failed(training_task_id, error_classes=classes, document_ids=document_ids, retry_task_id=retry_task_id)
        if not follow:
            output.print_training(started, as_json=session.as_json)
            if not session.as_json:
                _tell_how_to_follow(session, started.training_task_id)
            return DONE
        if not session.as_json:
            click.echo(f"Training {started.training_task_id}: {output.count(started.total)} of {training_task_id}, again.")
        return await _watch(client, session, started.training_task_id, include_documents=False)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@connected(Access.TENANT)
async def upload(session: Session, files: tuple[Path, ...]) -> int:
    """Store FILES and print the URI of each, for a manifest.

    One that cannot be stored is told, and the others are stored.
    """
    from doctrain.errors import InvalidRequestError, RequestTooLargeError
    from doctrain.folder import shown

    code = DONE
    async with session.client() as client:
        for path in files:
            try:
                stored = await client.upload(path)
            except (OSError, InvalidRequestError, RequestTooLargeError) as error:
                code = session.tell(error)
                continue
            if session.as_json:
                output.print_json({"path": shown(path), **output.as_dict(stored)})
            else:
                click.echo(f"{stored.uri}  {output.printable(shown(path))}")
    return code


@click.command()
@click.option(
    "--drop", is_flag=True, help="Remove what no training names; a training that is about to start misses what was stored for it."
)
@connected(Access.TENANT)
async def uploads(session: Session, drop: bool) -> None:
    """Show how many bytes are kept.

    With what of them no training names: what a training that was refused has left, and manifests that have been read.
    """
    async with session.client() as client:
        told = await client.drop_uploads(validate_only=not drop)
    if session.as_json:
        output.print_message(told)
        return
    limit = f" of {told.limit_bytes:,} that the plan allows" if told.limit_bytes else ""
    click.echo(f"Kept: {told.kept_bytes:,} bytes{limit}.")
    more = "" if told.complete else " at least"
    found = f"{output.count(told.uploads, 'upload')}, {told.bytes:,} bytes"
    if drop:
        click.echo(f"Dropped, since no training named them: {found}.")
    elif told.uploads:
        click.echo(f"No training names{more} {found}, manifests that were read included; drop them with: doctrain uploads --drop")


COMMANDS: tuple[click.Command, ...] = (train, watch, retry, upload, uploads)
