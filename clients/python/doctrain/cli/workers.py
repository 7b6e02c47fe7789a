"""The commands of operators about workers: who is there and how they are, and who is to take no new work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from doctrain.cli import output, times
from doctrain.cli.connection import Access
from doctrain.cli.session import Session, connected, connection_options

if TYPE_CHECKING:
    from doctrain.v1.fleet_pb2 import ListWorkersResponse, Worker

HEADINGS = ("WORKER", "LANES", "SLOTS", "CPU", "MEMORY", "IN USE", "DISK FREE", "LAG", "DOCS/S", "FAILING", "VERSION", "STATE", "SINCE")


@click.group(invoke_without_command=True)
@click.pass_context
@connection_options(variables=False)
def workers(context: click.Context, /, **_options: object) -> None:
    """List the connected workers, or take one out of work.

    Without a command they are listed.
    """
    if context.invoked_subcommand is None:
        with list_workers.make_context("list", [], parent=context) as listing:
            list_workers.invoke(listing)


@workers.command("list")
@connected(Access.OPERATOR)
async def list_workers(session: Session) -> None:
    """List the connected workers: what they run and how they are.

    DOCS/S is a mean over the last minute, FAILING the share of tries that lately crashed or reached a limit; `?` is what a worker has not
    told, as one without enough tries.
    """
    async with session.client() as client:
        fleet = await client.fleet.list_workers()
    if session.as_json:
        for worker in fleet.workers:
            output.print_message(worker)
    else:
        _tell(fleet)
    if fleet.health_alarm:
        click.echo(output.printable(fleet.health_alarm), err=True)
    if not fleet.registry_answered:
        click.echo("The registry did not answer, so loads are missing. Work goes on without it.", err=True)


def _tell(fleet: ListWorkersResponse) -> None:
    rows = [_row(worker, fleet.registry_answered) for worker in fleet.workers]
    output.print_table(HEADINGS, rows, nothing="No worker is connected.")
    for line in _reasons(fleet):
        click.echo(line)


def _reasons(fleet: ListWorkersResponse) -> Iterator[str]:
    for worker in fleet.workers:
        if worker.health_reason:
            yield output.printable(f"{worker.worker_id}: {worker.health_reason}")


def _row(worker: Worker, registry_answered: bool) -> tuple[object, ...]:
    return (
        worker.worker_id,
        f"{worker.lanes_in_use}/{worker.lanes}",
        worker.slots_in_use,
        _share(worker.cpu),
        output.size(worker.memory_bytes) if worker.memory_bytes >= 0 else "?",
        _share(worker.memory_share),
        _share(worker.disk_free_share),
        f"{worker.loop_lag_seconds:.1f} s" if worker.loop_lag_seconds >= 0 else "?",
        f"{worker.documents_per_second:.1f}" if worker.documents_per_second >= 0 else "?",
        _share(worker.failure_share),
        worker.version or "?",
        _state_of(worker, registry_answered),
        times.moment(worker.open_time) or "-",
    )


def _share(share: float) -> str:
    return f"{share:.0%}" if share >= 0 else "?"


def _state_of(worker: Worker, registry_answered: bool) -> str:
    from doctrain.v1 import fleet_pb2 as pb

    kept_out = {
        pb.WORKER_HEALTH_UNFIT: "unfit",
        pb.WORKER_HEALTH_SPARED: "unfit, at work",
        pb.WORKER_HEALTH_CORDONED: "cordoned",
        pb.WORKER_HEALTH_UNSUBSCRIBED: "cut off from RabbitMQ",
        pb.WORKER_HEALTH_DRAINING: "draining" if worker.lanes_in_use or worker.slots_in_use else "drained",
    }
    told = [kept_out[worker.health]] if worker.health in kept_out else []
    if not worker.session_id:
        told.append("not connected")
    elif worker.HasField("silence"):
        told.append(f"silent for {times.span(times.seconds(worker.silence))}")
    elif worker.draining:
        told.append("going away")
    elif not told:
        told.append("connected" if worker.registered or not registry_answered else "not in the registry")
    return ", ".join(told)


@workers.command("cordon")
@click.argument("worker_id", metavar="NAME")
@click.option("--reason", default="", help="Why, for people.")
@connected(Access.OPERATOR)
async def cordon(session: Session, worker_id: str, reason: str) -> None:
    """Give a worker no new work.

    What it has goes on. Holds over its restarts, until `doctrain workers uncordon NAME`.
    """
    async with session.client() as client:
        await client.fleet.cordon_worker(worker_id, reason=reason)
        _told(session, worker_id, "takes no new work; what it has goes on")
        _warn(await client.fleet.list_workers())


@workers.command("uncordon")
@click.argument("worker_id", metavar="NAME")
@connected(Access.OPERATOR)
async def uncordon(session: Session, worker_id: str) -> None:
    """Let a worker take work again."""
    async with session.client() as client:
        await client.fleet.uncordon_worker(worker_id)
    _told(session, worker_id, "takes work again, if it is well")


@workers.command("drain")
@click.argument("worker_id", metavar="NAME")
@click.option("--reason", default="", help="Why, for people.")
@click.option("--within", "within_seconds", type=click.FloatRange(0, 86_400), help="Seconds until what still runs is stopped.")
@connected(Access.OPERATOR)
async def drain(session: Session, worker_id: str, reason: str, within_seconds: float | None) -> None:
    """Empty a worker and give it no new work.

    Documents that run may end, for as long as --within says (else DOCTRAIN_DRAIN_SECONDS); what is left goes on elsewhere.
    """
    async with session.client() as client:
        await client.fleet.drain_worker(worker_id, reason=reason, within_seconds=within_seconds)
        _told(session, worker_id, "hands its work back and takes no more; `doctrain workers` shows when it has none")
        _warn(await client.fleet.list_workers())


def _told(session: Session, worker_id: str, what: str) -> None:
    if session.as_json:
        output.print_json({"worker_id": worker_id})
    else:
        click.echo(output.printable(f"{worker_id} {what}."))


def _warn(fleet: ListWorkersResponse) -> None:
    """An order is obeyed whoever else works: who gives it is to know when nobody does."""
    from doctrain.v1 import fleet_pb2 as pb

    kept_out = (pb.WORKER_HEALTH_UNFIT, pb.WORKER_HEALTH_CORDONED, pb.WORKER_HEALTH_DRAINING, pb.WORKER_HEALTH_UNSUBSCRIBED)
    if all(not worker.session_id or worker.draining or worker.health in kept_out for worker in fleet.workers):
        sentence = (
            "No worker is left that takes new work: everything waits until one does (doctrain workers uncordon NAME, or start another)."
        )
        click.echo(sentence, err=True)


COMMANDS: tuple[click.Command, ...] = (workers,)
