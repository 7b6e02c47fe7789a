"""The commands with which operators serve tenants: tenants, plans, keys. They need an operator's key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from doctrain.cli import output, times
from doctrain.cli.choices import ROLE
from doctrain.cli.connection import Access
from doctrain.cli.session import Session, connected, connection_options
from doctrain.cli.usage import days, period_options, tell_usage

if TYPE_CHECKING:
    from doctrain.v1.fleet_pb2 import Key, Plan, Tenant

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
_SLOTS = "Documents at once over all trainings of a tenant."
_LIMITS = (
    ("--burst", "burst_slots", click.IntRange(min=0), "Documents at once while the machines bear it; 0: never more than --slots."),
    ("--trainings", "open_trainings", click.IntRange(min=1), "Trainings of a tenant that have not ended; a new plan: 1,000."),
    ("--training-documents", "training_documents", click.IntRange(min=0), "Documents of one training; 0: any number."),
    ("--open-documents", "open_documents", click.IntRange(min=0), "Documents that have not ended; 0: any number."),
    ("--requests-per-second", "requests_per_second", click.FloatRange(min=0), "Calls a second, at each coordinator; 0: any number."),
    ("--watches", "watches", click.IntRange(0, 1000), "Watches at once, at each coordinator; 0: 1,000."),
    ("--upload-bytes", "upload_bytes", click.IntRange(min=0), "Bytes that are kept for a tenant; 0: any number."),
)
KEY_HEADINGS = ("ID", "ROLE", "TENANT", "LABEL", "MADE", "EXPIRES", "REVOKED")


@click.group()
@connection_options(variables=False)
def tenants(**_options: object) -> None:
    """List, make, change, suspend and delete tenants."""


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


@tenants.command("suspend")
@click.argument("tenant_id", metavar="NAME")
@click.option("--reason", default="", help="Why; the tenant is told.")
@connected(Access.OPERATOR)
async def suspend_tenant(session: Session, tenant_id: str, reason: str) -> None:
    """Stop a tenant's service until it is resumed.

    New trainings, uploads and searches are refused, and what runs is paused. Its keys still read, cancel and delete.
    """
    async with session.client() as client:
        _tell_tenants(session, [await client.fleet.suspend_tenant(tenant_id, reason=reason)])


@tenants.command("resume")
@click.argument("tenant_id", metavar="NAME")
@connected(Access.OPERATOR)
async def resume_tenant(session: Session, tenant_id: str) -> None:
    """Serve a suspended tenant again.

    What was paused with it goes on; what the tenant had paused itself stays so.
    """
    async with session.client() as client:
        _tell_tenants(session, [await client.fleet.resume_tenant(tenant_id)])


@tenants.command("delete")
@click.argument("tenant_id", metavar="NAME")
@click.option("--confirm", required=True, metavar="NAME", help="The name once more: nothing brings a deleted tenant back.")
@connected(Access.OPERATOR)
async def delete_tenant(session: Session, tenant_id: str, confirm: str) -> None:
    """Delete a tenant and all that it has, for good.

    It is out of service at once; its trainings, index, uploads, usage and keys are removed in the background. `doctrain tenants list`
    shows it as deleting until nothing is left.
    """
    if confirm != tenant_id:
        raise click.UsageError(f"--confirm is {confirm!r}; give the tenant's name again to delete it: --confirm {tenant_id}")
    async with session.client() as client:
        _tell_tenants(session, [await client.fleet.delete_tenant(tenant_id)])


@tenants.command("usage")
@click.argument("tenant_id", metavar="NAME")
@period_options
@connected(Access.OPERATOR)
async def tenant_usage(session: Session, tenant_id: str, first_day: datetime | None, last_day: datetime | None) -> None:
    """Show what a tenant used, by day."""
    async with session.client() as client:
        tell_usage(session, await client.fleet.get_tenant_usage(tenant_id, **days(first_day, last_day)))


def _tell_tenants(session: Session, found: list[Tenant]) -> None:
    if session.as_json:
        for tenant in found:
            output.print_message(tenant)
        return
    rows = [(t.tenant_id, t.plan, f"{t.weight:g}", _state_of(t), times.moment(t.create_time)) for t in found]
    output.print_table(("TENANT", "PLAN", "WEIGHT", "STATE", "MADE"), rows, nothing="No tenants.")


def _state_of(tenant: Tenant) -> str:
    from doctrain.v1.fleet_pb2 import TenantState

    state = TenantState.Name(tenant.state).removeprefix("TENANT_STATE_").lower()
    return f"{state}: {tenant.suspend_reason}" if tenant.suspend_reason else state


@click.group()
@connection_options(variables=False)
def plans(**_options: object) -> None:
    """List, make, change and delete plans."""


@plans.command("list")
@connected(Access.OPERATOR)
async def list_plans(session: Session) -> None:
    """List all plans by name."""
    async with session.client() as client:
        _tell_plans(session, await client.fleet.list_plans())


def _limit_options(function: Decorated) -> Decorated:
    """The limits of a plan but its slots; None for one that is not given."""
    for option, limit, kind, text in reversed(_LIMITS):
        function = click.option(option, limit, type=kind, help=text)(function)
    return function


@plans.command("put")
@click.argument("name")
@click.option("--slots", required=True, type=int, help=_SLOTS)
@_limit_options
@connected(Access.OPERATOR)
async def put_plan(session: Session, /, name: str, **limits: Any) -> None:
    """Make or change a plan, for what waits and what runs.

    A plan is put as a whole: a limit that is not given is its default, whatever it was before. To change some: doctrain plans update.
    """
    async with session.client() as client:
        _tell_plans(session, [await client.fleet.put_plan(name, **{limit: value for limit, value in limits.items() if value is not None})])


@plans.command("update")
@click.argument("name")
@click.option("--slots", type=int, help=_SLOTS)
@_limit_options
@connected(Access.OPERATOR)
async def update_plan(session: Session, /, name: str, **limits: Any) -> None:
    """Change some limits of a plan, for waiting work too.

    Those that are not given stay as they are, whoever else changes them meanwhile.
    """
    if all(value is None for value in limits.values()):
        raise click.UsageError("Give at least one limit that is to change.")
    async with session.client() as client:
        _tell_plans(session, [await client.fleet.update_plan(name, **limits)])


@plans.command("delete")
@click.argument("name")
@connected(Access.OPERATOR)
async def delete_plan(session: Session, name: str) -> None:
    """Delete a plan that no tenant has."""
    async with session.client() as client:
        await client.fleet.delete_plan(name)
    if session.as_json:
        output.print_json({"name": name})
    else:
        click.echo(f"Plan {name} is deleted.")


def _tell_plans(session: Session, found: list[Plan]) -> None:
    if session.as_json:
        for plan in found:
            output.print_message(plan)
        return
    further = ("open_trainings", "training_documents", "open_documents", "requests_per_second", "watches")
    rows = [
        (
            *(plan.name, plan.slots, plan.burst_slots),
            *(output.limit(getattr(plan, limit), "-") for limit in further),
            output.size(plan.upload_bytes) if plan.upload_bytes else "-",
        )
        for plan in found
    ]
    headings = ("PLAN", "SLOTS", "BURST", "TRAININGS", "DOCUMENTS EACH", "OPEN DOCUMENTS", "CALLS/S", "WATCHES", "UPLOADS")
    output.print_table(headings, rows, nothing="No plans.")


@click.group()
@connection_options(variables=False)
def keys(**_options: object) -> None:
    """Make, list and revoke API keys."""


@keys.command("create")
@click.option("--role", type=ROLE, default="tenant", show_default=True, help="What the key may do.")
@click.option("--tenant", "tenant_id", default="", help="Whose key, for role tenant.")
@click.option("--label", default="", help="A note for people.")
@click.option("--days", "lifetime_days", type=click.FloatRange(min=0, min_open=True), help="How many days it is in force; without: no end.")
@connected(Access.OPERATOR)
async def create_key(session: Session, role: str, tenant_id: str, label: str, lifetime_days: float | None) -> None:
    """Make an API key and print it, this once.

    To rotate a key, make the next one, give it to its users, then revoke the old one: both are in force until then.
    """
    lifetime = None if lifetime_days is None else timedelta(days=lifetime_days)
    async with session.client() as client:
        made = await client.fleet.create_key(role, tenant_id=tenant_id, label=label, lifetime=lifetime)
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
    output.print_table(KEY_HEADINGS, [_key_row(key) for key in found], nothing="No keys.")


def _key_row(key: Key) -> tuple[object, ...]:
    from doctrain.v1.fleet_pb2 import Role

    role = Role.Name(key.role).removeprefix("ROLE_").lower()
    ends = times.moment(key.expire_time) or "-", times.moment(key.revoke_time) or "-"
    return key.key_id, role, key.tenant_id or "-", key.label or "-", times.moment(key.create_time), *ends


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


COMMANDS: tuple[click.Command, ...] = (tenants, plans, keys)
