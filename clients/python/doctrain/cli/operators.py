"""The commands with which operators see what waits and what was put aside: queue, dead letters. They need an operator's key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from doctrain.cli import output, times
from doctrain.cli.connection import Access
from doctrain.cli.session import Session, connected

if TYPE_CHECKING:
    from doctrain.v1.fleet_pb2 import GetQueueResponse


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
    if present.intake_alarm and (present.HasField("oldest_wait") or present.dispatched_shards):
        click.echo(output.printable(f"{present.intake_alarm} What waits starts when one takes new work: see doctrain workers."), err=True)
    if present.health_alarm:
        click.echo(output.printable(present.health_alarm), err=True)


def _tell_queue(present: GetQueueResponse) -> None:
    oldest = f" (of trainings up to {times.span(times.seconds(present.oldest_wait))} old)" if present.HasField("oldest_wait") else ""
    click.echo(f"Open: {output.count(present.open_documents)}.")
    waiting = _waiting(present.pending_shards, present.paused_shards, "waiting")
    click.echo(f"Shards: {waiting}{oldest}, {present.dispatched_shards:,} handed out, {present.running_shards:,} running.")
    messages = f"{output.count(present.broker_messages, 'message')} ready" if present.broker_messages >= 0 else "did not answer"
    click.echo(f"Broker: {messages}.")
    rows = [
        (tenant.tenant_id, _waiting(tenant.pending_shards, tenant.paused_shards), f"{tenant.slots_in_use}/{tenant.slots}")
        for tenant in present.tenants
    ]
    output.print_table(("TENANT", "SHARDS WAITING", "SLOTS"), rows, nothing="No tenant has open work.")


def _waiting(pending: int, paused: int, word: str = "") -> str:
    """Such as ``3 waiting, of which 1 paused``."""
    return f"{pending:,} {word}".rstrip() + (f", of which {paused:,} paused" if paused else "")


@click.command("dead-letters")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 500), help="How many at most.")
@connected(Access.OPERATOR)
async def dead_letters(session: Session, limit: int) -> None:
    """List messages that the broker put aside.

    With why, and what became of their work.
    """
    async with session.client() as client:
        found = await client.fleet.list_dead_letters(limit=limit)
    if session.as_json:
        for letter in found:
            output.print_message(letter)
        return
    rows = [(times.moment(letter.found_time), letter.cause, letter.shard or "-", letter.explanation) for letter in found]
    output.print_table(("FOUND", "CAUSE", "SHARD", "WHAT IT MEANS"), rows, nothing="No dead letters.")


COMMANDS: tuple[click.Command, ...] = (queue, dead_letters)
