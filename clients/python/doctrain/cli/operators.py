"""The commands of operators: workers, queue, dead letters, tenants, plans and keys. They need an operator's key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from doctrain.cli import output, times
from doctrain.cli.choices import ROLE
from doctrain.cli.connection import Access
from doctrain.cli.session import Session, connected, connection_options

if TYPE_CHECKING:
    from doctrain.v1.fleet_pb2 import GetQueueResponse, Key, Plan, Tenant, Worker


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


@click.group()
@connection_options(variables=False)
def tenants(**_options: object) -> None:
    """List, make and change tenants."""


@tenants.command("list")
@connected(Access.OPERATOR)
async def list_tenants(session: Session) -> None:
    """List all tenants by name."""
    async with session.client() as client:
        _tell_tenants(session, [tenant async for tenant in client.fleet.list_tenants()])


@tenants.command("create")
@click.argument("tenant_id", metavar="NAME")
@click.option("--plan", required=True, help="The plan whose limits hold.")
@click.option("--weight", default=1.0, show_default=True, help="Its share when tenants compete.")
@connected(Access.OPERATOR)
async def create_tenant(session: Session, tenant_id: str, plan: str, weight: float) -> None:
    """Make a tenant.

    Its key comes from `doctrain keys create --tenant NAME`.
    """
    async with session.client() as client:
        _tell_tenants(session, [await client.fleet.create_tenant(tenant_id, plan=plan, weight=weight)])


@tenants.command("update")
@click.argument("tenant_id", metavar="NAME")
@click.option("--plan", help="The new plan; without it: as it is.")
@click.option("--weight", type=float, help="The new share; without it: as it is.")
@connected(Access.OPERATOR)
async def update_tenant(session: Session, tenant_id: str, plan: str | None, weight: float | None) -> None:
    """Change a tenant's plan or weight, for waiting work too."""
    if plan is None and weight is None:
        raise click.UsageError("Give --plan, --weight or both.")
    async with session.client() as client:
        _tell_tenants(session, [await client.fleet.update_tenant(tenant_id, plan=plan, weight=weight)])


def _tell_tenants(session: Session, found: list[Tenant]) -> None:
    if session.as_json:
        for tenant in found:
            output.print_message(tenant)
        return
    rows = [(tenant.tenant_id, tenant.plan, f"{tenant.weight:g}", times.moment(tenant.create_time)) for tenant in found]
    output.print_table(("TENANT", "PLAN", "WEIGHT", "MADE"), rows, nothing="No tenants.")


@click.group()
@connection_options(variables=False)
def plans(**_options: object) -> None:
    """List, make and change plans."""


@plans.command("list")
@connected(Access.OPERATOR)
async def list_plans(session: Session) -> None:
    """List all plans by name."""
    async with session.client() as client:
        _tell_plans(session, await client.fleet.list_plans())


@plans.command("put")
@click.argument("name")
@click.option("--slots", required=True, type=int, help="Documents at once over all trainings of a tenant.")
@click.option("--trainings", default=1_000, show_default=True, type=int, help="Trainings of a tenant that have not ended.")
@connected(Access.OPERATOR)
async def put_plan(session: Session, name: str, slots: int, trainings: int) -> None:
    """Make or change a plan, for waiting work too."""
    async with session.client() as client:
        _tell_plans(session, [await client.fleet.put_plan(name, slots=slots, open_trainings=trainings)])


def _tell_plans(session: Session, found: list[Plan]) -> None:
    if session.as_json:
        for plan in found:
            output.print_message(plan)
        return
    rows = [(plan.name, plan.slots, plan.open_trainings) for plan in found]
    output.print_table(("PLAN", "SLOTS", "TRAININGS"), rows, nothing="No plans.")


@click.group()
@connection_options(variables=False)
def keys(**_options: object) -> None:
    """Make, list and revoke API keys."""


@keys.command("create")
@click.option("--role", type=ROLE, default="tenant", show_default=True, help="What the key may do.")
@click.option("--tenant", "tenant_id", default="", help="Whose key, for role tenant.")
@click.option("--label", default="", help="A note for people.")
@connected(Access.OPERATOR)
async def create_key(session: Session, role: str, tenant_id: str, label: str) -> None:
    """Make an API key and print it, this once."""
    async with session.client() as client:
        made = await client.fleet.create_key(role, tenant_id=tenant_id, label=label)
    if session.as_json:
        output.print_message(made)
    else:
        click.echo(made.key)
        click.echo(f"Keep it: it is shown this once. Take it out of force with: doctrain keys revoke {made.key_id}", err=True)


@keys.command("list")
@click.option("--tenant", "tenant_id", default="", help="Only the keys of this tenant.")
@connected(Access.OPERATOR)
async def list_keys(session: Session, tenant_id: str) -> None:
    """List all keys, revoked ones too.

    What each may do, never the key itself.
    """
    async with session.client() as client:
        found = [key async for key in client.fleet.list_keys(tenant_id=tenant_id, page_size=1000)]
    if session.as_json:
        for key in found:
            output.print_message(key)
        return
    output.print_table(("ID", "ROLE", "TENANT", "LABEL", "MADE", "REVOKED"), [_key_row(key) for key in found], nothing="No keys.")


def _key_row(key: Key) -> tuple[object, ...]:
    from doctrain.v1.fleet_pb2 import Role

    role = Role.Name(key.role).removeprefix("ROLE_").lower()
    return key.key_id, role, key.tenant_id or "-", key.label or "-", times.moment(key.create_time), times.moment(key.revoke_time) or "-"


class _KeyId(click.IntRange):
    """The number of a key."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Refuses what is none in a sentence that says where the numbers are."""
        try:
            return int(super().convert(value, param, ctx))
        except click.BadParameter:
            self.fail(f"{value!r} is not the number of a key; `doctrain keys list` shows the numbers under ID.", param, ctx)


@keys.command("revoke")
@click.argument("key_id", metavar="ID", type=_KeyId(min=1))
@connected(Access.OPERATOR)
async def revoke_key(session: Session, key_id: int) -> None:
    """Take a key out of force within seconds.

    ID is its number, as `doctrain keys list` shows it.
    """
    async with session.client() as client:
        await client.fleet.revoke_key(key_id)
    if session.as_json:
        output.print_json({"key_id": str(key_id)})
    else:
        click.echo(f"Key {key_id} is out of force.")


COMMANDS: tuple[click.Command, ...] = (workers, queue, dead_letters, tenants, plans, keys)
