"""The commands of tenants that find what was trained, and take it out again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from doctrain.cli import output, times
from doctrain.cli.choices import MEDIA_TYPE, PAIR, SEARCH_MODE, by_key
from doctrain.cli.connection import Access
from doctrain.cli.session import Session, connected

if TYPE_CHECKING:
    from doctrain.v1.search_pb2 import GetIndexResponse, SearchHit


@click.command()
@click.argument("query", nargs=-1, required=True)
@click.option("--mode", type=SEARCH_MODE, default="hybrid", show_default=True, help="By meaning and words, or by one of them.")
@click.option("--limit", default=5, show_default=True, type=click.IntRange(1, 100), help="How many passages at most.")
@click.option("--training", "training_task_ids", multiple=True, metavar="ID", help="Only what this training indexed; more than once: any.")
@click.option("--document", "document_ids", multiple=True, metavar="ID", help="Only this document; more than once: any of them.")
@click.option("--metadata", "pairs", multiple=True, type=PAIR, help="Only documents with this pair; more than once: with all of them.")
@click.option(
    "--type",
    "media_types",
    multiple=True,
    type=MEDIA_TYPE,
    metavar="TYPE",
    help="Only of this type, as application/pdf; more than once: any.",
)
@connected(Access.TENANT)
async def search(
    session: Session,
    *,
    query: tuple[str, ...],
    mode: str,
    limit: int,
    training_task_ids: tuple[str, ...],
    document_ids: tuple[str, ...],
    pairs: tuple[tuple[str, str], ...],
    media_types: tuple[str, ...],
) -> None:
    """Find the passages that answer a question best.

    QUERY is a question, or words.
    """
    metadata = by_key(pairs)
    async with session.client() as client:
        hits = await client.search(
            " ".join(query),
            mode=mode,
            limit=limit,
            training_task_ids=training_task_ids,
            document_ids=document_ids,
            metadata=metadata,
            media_types=media_types,
            on_unknown=lambda unknown: click.echo(output.printable(str(unknown)), err=True),
        )
        if session.as_json:
            for hit in hits:
                output.print_message(hit)
        elif hits:
            for place, hit in enumerate(hits, 1):
                for line in _hit_lines(place, hit):
                    click.echo(line)
        else:
            click.echo(_nothing_found(await client.get_index()))


def _hit_lines(place: int, hit: SearchHit) -> Iterator[str]:
    """Where it stands, the headings above it, and what it says with the words that were looked for in bold."""
    where = [click.style(output.printable(hit.document_id), bold=True)]
    where += [output.printable(hit.part)] if hit.part else []
    where += [f"page {hit.page}"] if hit.page else []
    yield f"{place:>2}. {', '.join(where)}  {click.style(f'({hit.score:.2f})', dim=True)}"
    if hit.heading:
        yield f"    {click.style(output.printable(hit.heading), dim=True)}"
    said, shown = output.printable(hit.snippet), 0
    line = ""
    for match in hit.snippet_matches:
        line += said[shown : match.start] + click.style(said[match.start : match.end], bold=True)
        shown = match.end
    yield f"    {line}{said[shown:]}"


def _nothing_found(index: GetIndexResponse) -> str:
    if not index.document_count:
        return "Nothing is in the index yet: doctrain train FOLDER --watch"
    stale = (
        f", {index.stale_document_count:,} of which meaning cannot find until they are trained again" if index.stale_document_count else ""
    )
    return f"Nothing was found among {output.count(index.document_count)}{stale}."


@click.command()
@click.argument("document_ids", nargs=-1, metavar="[ID]...")
@click.option("--training", "training_task_id", default="", metavar="ID", help="All that this training indexed; it must have ended.")
@connected(Access.TENANT)
async def delete(session: Session, document_ids: tuple[str, ...], training_task_id: str) -> None:
    """Take documents out of the index, for good.

    By their ids, or all of a training. Their bytes go too, where doctrain stored them. Trainings that were started before do not
    bring them back.
    """
    if bool(document_ids) == bool(training_task_id):
        raise click.UsageError("Name documents, or one training with --training.")
    missing: list[str] = []
    async with session.client() as client:
        count = await client.delete_documents(document_ids, training_task_id=training_task_id, on_missing=missing.append)
    if session.as_json:
        output.print_json({"deleted_count": count, "not_in_index": missing})
        return
    click.echo(f"{output.count(count)} deleted." if count else "None of it was in the index.")
    if count and missing:
        click.echo(f"Not in the index: {', '.join(map(output.printable, missing))}")


@click.command()
@connected(Access.TENANT)
async def index(session: Session) -> None:
    """Show how much there is to find."""
    async with session.client() as client:
        present = await client.get_index()
    if session.as_json:
        output.print_message(present)
        return
    last = f", the last indexed on {times.moment(present.update_time)}" if present.HasField("update_time") else ""
    click.echo(f"{output.count(present.document_count)} in {output.count(present.chunk_count, 'passage')}{last}. Model: {present.model}.")
    if present.stale_document_count:
        stale = output.count(present.stale_document_count)
        click.echo(f"{stale} embedded with another model: words find them, meaning does not, until they are trained again.")


COMMANDS: tuple[click.Command, ...] = (search, delete, index)
