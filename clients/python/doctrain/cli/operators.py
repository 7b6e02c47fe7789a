"""The commands with which operators see the fleet: workers, queue, dead letters. They need an operator's key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from doctrain.cli import output, times
from doctrain.cli.connection import Access
from doctrain.cli.session import Session, connected

if TYPE_CHECKING:
    from doctrain.v1.fleet_pb2 import GetQueueResponse, Worker


@click.command()
@connected(Access.OPERATOR)
async def workers(session: Session) -> None:
    """List the connected workers and what they run."""
    async with session.client() as client:
        fleet = await client.fleet.list_workers()
    if session.as_json:
        for worker in fleet.workers:
            output.print_message(worker)
    else:
        headings = ("WORKER", "LANES", "SLOTS", "CPU", "MEMORY", "VERSION", "STATE", "SINCE")
        output.print_table(
            headings, [_worker_row(worker, fleet.registry_answered) for worker in fleet.workers], nothing="No worker is connected."
        )
    if not fleet.registry_answered:
        click.echo("The registry did not answer, so loads are missing. Work goes on without it.", err=True)


def _worker_row(worker: Worker, registry_answered: bool) -> tuple[object, ...]:
    return (
        worker.worker_id,
        f"{worker.lanes_in_use}/{worker.lanes}",
        worker.slots_in_use,
        f"{worker.cpu:.0%}" if worker.cpu >= 0 else "?",
        f"{worker.memory_bytes / 2**20:.0f} MiB" if worker.memory_bytes >= 0 else "?",
        worker.version or "?",
        _state_of(worker, registry_answered),
        times.moment(worker.open_time),
    )


def _state_of(worker: Worker, registry_answered: bool) -> str:
    if worker.HasField("silence"):
        return f"silent for {times.span(times.seconds(worker.silence))}"
    if worker.draining:
        return "draining"
    return "connected" if worker.registered or not registry_answered else "not in the registry"


@click.command()
@connected(Access.OPERATOR)
async def queue(session: Session) -> None:
    """Show how much work waits and runs."""
    async with session.client() as client:
        present = await client.fleet.get_queue()
    if session.as_json:
        output.print_message(present)
    else:
        _tell_queue(present)


def _tell_queue(present: GetQueueResponse) -> None:
    oldest = f" (of trainings up to {times.span(times.seconds(present.oldest_wait))} old)" if present.HasField("oldest_wait") else ""
    click.echo(f"Open: {output.count(present.open_documents)}.")
    click.echo(
        f"Shards: {present.pending_shards:,} waiting{oldest}, {present.dispatched_shards:,} handed out, {present.running_shards:,} running."
    )
    messages = f"{output.count(present.broker_messages, 'message')} ready" if present.broker_messages >= 0 else "did not answer"
    click.echo(f"Broker: {messages}.")
    rows = [(tenant.tenant_id, tenant.pending_shards, f"{tenant.slots_in_use}/{tenant.slots}") for tenant in present.tenants]
    output.print_table(("TENANT", "SHARDS WAITING", "SLOTS"), rows, nothing="No tenant has open work.")


@click.command("dead-letters")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 500), help="How many at most.")
@connected(Access.OPERATOR)
async def dead_letters(session: Session, limit: int) -> None:
    """List messages that the broker put aside.

    With why, and what became of their work.
    """
    async with session.client() as client:
        found = await client.fleet.list_dead_letters(page_size=limit)
    if session.as_json:
        for letter in found:
            output.print_message(letter)
        return
    rows = [(times.moment(letter.found_time), letter.cause, letter.shard or "-", letter.explanation) for letter in found]
    output.print_table(("FOUND", "CAUSE", "SHARD", "WHAT IT MEANS"), rows, nothing="No dead letters.")


COMMANDS: tuple[click.Command, ...] = (workers, queue, dead_letters)
