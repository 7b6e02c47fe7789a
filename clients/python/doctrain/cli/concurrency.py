"""The commands of operators about documents at once: what plans and tenants may have now and why, and orders of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from doctrain.cli import output, times
from doctrain.cli.connection import Access
from doctrain.cli.session import Session, connected, connection_options

if TYPE_CHECKING:
    from doctrain.v1.fleet_pb2 import ConcurrencyOrder, GetConcurrencyResponse

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
SHOWN = 20


@click.group(invoke_without_command=True)
@click.pass_context
@connection_options(variables=False)
def concurrency(context: click.Context, /, **_options: object) -> None:
    """Show the limits on documents at once, or order them.

    Without a command the limits, orders and newest decisions are shown.
    """
    if context.invoked_subcommand is None:
        with show.make_context("show", [], parent=context) as showing:
            show.invoke(showing)


@concurrency.command("show")
@click.option("--limit", default=SHOWN, show_default=True, type=click.IntRange(1, 500), help="How many decisions at most.")
@connected(Access.OPERATOR)
async def show(session: Session, limit: int) -> None:
    """Show the limits, the orders and the newest decisions."""
    async with session.client() as client:
        present = await client.fleet.get_concurrency(decisions=limit)
    if session.as_json:
        output.print_message(present)
    else:
        _tell(present)


def _tell(present: GetConcurrencyResponse) -> None:
    plans = [
        (plan.plan, plan.slots, plan.burst_slots, plan.current_slots, _ordered(plan.order) if plan.HasField("order") else "-")
        for plan in present.plans
    ]
    output.print_table(("PLAN", "GUARANTEED", "BURST", "NOW", "ORDER"), plans, nothing="No plans.")
    if present.tenant_orders:
        orders = [(order.subject.tenant_id, _ordered(order)) for order in present.tenant_orders]
        output.print_table(("TENANT", "ORDER"), orders, nothing="")
    decisions = [
        (times.moment(one.decide_time), one.plan, f"{one.slots_before:,} to {one.slots_after:,}", one.reason) for one in present.decisions
    ]
    output.print_table(("DECIDED", "PLAN", "AT ONCE", "WHY"), decisions, nothing="Nothing was decided yet.")


def _ordered(order: ConcurrencyOrder) -> str:
    from doctrain.v1 import fleet_pb2 as pb

    how = "pinned to" if order.kind == pb.CONCURRENCY_ORDER_KIND_PIN else "capped at"
    why = f": {order.reason}" if order.reason else ""
    return f"{how} {order.slots:,}, {times.moment(order.order_time)}, by key {order.key_id}{why}"


def _of_subject(function: Decorated) -> Decorated:
    """Adds the options that say whom an order is for."""
    function = click.option("--tenant", "tenant_id", default="", help="For this tenant.")(function)
    return click.option("--plan", default="", help="For each tenant of this plan.")(function)


@concurrency.command("pin")
@_of_subject
@click.argument("slots", type=int)
@click.option("--reason", default="", help="Why, for people.")
@connected(Access.OPERATOR)
async def pin(session: Session, slots: int, plan: str, tenant_id: str, reason: str) -> None:
    """Allow exactly SLOTS documents at once, until `clear`.

    Whatever the plan and the machines allow, for waiting work too. A tenant's pin goes before its plan's order.
    """
    async with session.client() as client:
        await client.fleet.pin_concurrency(slots, plan=plan, tenant_id=tenant_id, reason=reason)
    _told(session, plan, tenant_id, f"pinned to {slots:,}")


@concurrency.command("cap")
@_of_subject
@click.argument("slots", type=int)
@click.option("--reason", default="", help="Why, for people.")
@connected(Access.OPERATOR)
async def cap(session: Session, slots: int, plan: str, tenant_id: str, reason: str) -> None:
    """Allow at most SLOTS documents at once, until `clear`.

    Also below what the plan guarantees, and for waiting work too.
    """
    async with session.client() as client:
        await client.fleet.cap_concurrency(slots, plan=plan, tenant_id=tenant_id, reason=reason)
    _told(session, plan, tenant_id, f"capped at {slots:,}")


@concurrency.command("clear")
@_of_subject
@connected(Access.OPERATOR)
async def clear(session: Session, plan: str, tenant_id: str) -> None:
    """End the order of a plan or a tenant."""
    async with session.client() as client:
        await client.fleet.clear_concurrency(plan=plan, tenant_id=tenant_id)
    _told(session, plan, tenant_id, "under no order")


def _told(session: Session, plan: str, tenant_id: str, what: str) -> None:
    if session.as_json:
        output.print_json({"plan": plan} if plan else {"tenant_id": tenant_id})
    else:
        click.echo(output.printable(f"{f'Plan {plan}' if plan else f'Tenant {tenant_id}'} is {what}."))


COMMANDS: tuple[click.Command, ...] = (concurrency,)
