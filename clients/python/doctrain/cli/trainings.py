"""The commands of tenants that read, hold and end trainings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from doctrain.cli import output, times
from doctrain.cli.choices import DOCUMENT_STATE, TRAINING_STATE
from doctrain.cli.connection import Access
from doctrain.cli.session import OF_ALL, Session, connected

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from doctrain.client import AsyncClient
    from doctrain.v1.training_pb2 import Training


@click.command()
@click.argument("training_task_ids", metavar="ID...", nargs=-1, required=True)
@connected(Access.TENANT, for_tenant=True)
async def status(session: Session, training_task_ids: tuple[str, ...]) -> None:
    """Show where trainings stand and how fast they go.

    With since when, and how long the rest may take.
    """
    async with session.client() as client:
        for training_task_id in training_task_ids:
            training = await client.get_training(training_task_id)
            output.print_training(training, as_json=session.as_json)
            if not session.as_json:
                if training.retry_of:
                    click.echo(f"    a retry of {output.printable(training.retry_of)}")
                for line in times.course(training, datetime.now(UTC)):
                    click.echo(f"    {line}")


@click.command()
@click.argument("training_task_id", metavar="ID")
@connected(Access.TENANT, for_tenant=True)
async def cancel(session: Session, training_task_id: str) -> None:
    """End a training that has not ended; what was trained stays."""
    async with session.client() as client:
        ended = await _has_ended(client, session, training_task_id)
        _tell_change(session, await client.cancel(training_task_id), ended=ended)


@click.command()
@click.argument("training_task_id", metavar="ID")
@connected(Access.TENANT, for_tenant=True)
async def pause(session: Session, training_task_id: str) -> None:
    """Start nothing more of a training for now.

    Until it is resumed; what runs ends by itself.
    """
    async with session.client() as client:
        ended = await _has_ended(client, session, training_task_id)
        _tell_change(session, await client.pause(training_task_id), ended=ended)


@click.command()
@click.argument("training_task_id", metavar="ID")
@connected(Access.TENANT, for_tenant=True)
async def resume(session: Session, training_task_id: str) -> None:
    """Let a paused training go on."""
    async with session.client() as client:
        ended = await _has_ended(client, session, training_task_id)
        _tell_change(session, await client.resume(training_task_id), ended=ended)


async def _has_ended(client: AsyncClient, session: Session, training_task_id: str) -> bool:
    """Whether there is nothing left to change; programs see it from the state."""
    from doctrain.watch import has_ended

    return not session.as_json and has_ended(await client.get_training(training_task_id))


def _tell_change(session: Session, training: Training, *, ended: bool) -> None:
    output.print_training(training, as_json=session.as_json, note="had ended already; " if ended else "")


@click.command()
@click.argument("training_task_id", metavar="ID")
@connected(Access.TENANT, for_tenant=True)
async def explain(session: Session, training_task_id: str) -> None:
    """Say what holds a training back, and what to do."""
    async with session.client() as client:
        explained = await client.explain(training_task_id)
    if session.as_json:
        output.print_message(explained)
        return
    output.print_training(explained.training, as_json=False)
    for line in output.explanation(explained):
        click.echo(line)


@click.command("list")
@click.option("--state", "states", multiple=True, type=TRAINING_STATE, help="Only those; may be given more than once.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(min=0), help="How many at most; 0: all.")
@click.option("--all-tenants", OF_ALL, is_flag=True, help="As an operator: of every tenant.")
@connected(Access.TENANT, for_tenant=True)
async def list_trainings(session: Session, states: tuple[str, ...], limit: int, of_all_tenants: bool) -> None:
    """List trainings, newest first."""
    from doctrain.watch import has_ended

    if of_all_tenants and session.tenant:
        raise click.UsageError("Give --tenant or --all-tenants, not both.")
    trainings: list[tuple[str, Training]] = []
    async with session.client() as client:
        async for message, tenant, training in _listed(client, states, min(limit, 500), of_all=of_all_tenants):
            if session.as_json:
                output.print_message(message)
            trainings.append((tenant, training))
            if len(trainings) == limit:
                break
    if not session.as_json:
        now = datetime.now(UTC)
        rows = [
            (
                *([tenant] if of_all_tenants else []),
                *(
                    t.training_task_id,
                    output.training_state(t) + (", paused" if t.paused and not has_ended(t) else ""),
                    f"{t.completed}/{t.total}",
                    t.failed,
                ),
                times.moment(t.create_time),
                _took(t, now),
            )
            for tenant, t in trainings
        ]
        headings = ("ID", "STATE", "TRAINED", "FAILED", "ACCEPTED", "TOOK")
        output.print_table(("TENANT", *headings) if of_all_tenants else headings, rows, nothing="No trainings.")


async def _listed(
    client: AsyncClient, states: tuple[str, ...], page_size: int, *, of_all: bool
) -> AsyncIterator[tuple[Message, str, Training]]:
    """Each message, with the name of its tenant, where all tenants' are listed, and its training."""
    if not of_all:
        async for training in client.list_trainings(states, page_size=page_size):
            yield training, "", training
        return
    async for one in client.fleet.list_all_trainings(states, page_size=page_size):
        yield one, one.tenant_id, one.training


def _took(training: Training, now: datetime) -> str:
    """How long it ran, or has run so far; nothing before it started."""
    if not training.HasField("start_time"):
        return "-"
    return times.span(times.elapsed_seconds(training, now)) + ("" if training.HasField("end_time") else " so far")


@click.command()
@click.argument("training_task_id", metavar="ID")
@click.option("--state", "states", multiple=True, type=DOCUMENT_STATE, help="Only those; may be given more than once.")
@click.option("--limit", default=0, show_default=True, type=click.IntRange(min=0), help="How many at most; 0: all.")
@click.option("--stages", is_flag=True, help="Also show what each stage of a document took and did.")
@connected(Access.TENANT, for_tenant=True)
async def documents(session: Session, training_task_id: str, states: tuple[str, ...], limit: int, stages: bool) -> None:
    """List a training's documents in their order.

    With how long each took, how often it was tried and what went wrong.
    """
    shown = 0
    async with session.client() as client:
        async for document in client.list_documents(training_task_id, states, page_size=min(limit or 1000, 1000)):
            if session.as_json:
                output.print_message(document)
            else:
                click.echo(output.document_sentence(document))
                for line in output.stage_lines(document) if stages else ():
                    click.echo(line)
            shown += 1
            if shown == limit:
                break
    if not shown and not session.as_json:
        click.echo("No documents in such a state." if states else "No documents.")


COMMANDS: tuple[click.Command, ...] = (status, explain, cancel, pause, resume, list_trainings, documents)
