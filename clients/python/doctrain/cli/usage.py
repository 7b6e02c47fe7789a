"""What was used and what was changed: ``usage`` and ``limits`` for tenants, ``audit`` for operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from doctrain.cli import output, times
from doctrain.cli.connection import Access
from doctrain.cli.session import Session, connected

if TYPE_CHECKING:
    from doctrain.v1.fleet_pb2 import AuditEntry
    from doctrain.v1.training_pb2 import Allowance, GetLimitsResponse
    from doctrain.v1.usage_pb2 import UsageDay

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class _Day(click.DateTime):
    """A day, as a person writes it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuses what is none in a sentence that says how to write one."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is no day; write year, month and day, such as 2026-05-31.", param, ctx)


def period_options(function: Decorated) -> Decorated:
    """Which days: ``first_day`` and ``last_day``."""
    day = _Day(["%Y-%m-%d"])
    function = click.option("--to", "last_day", type=day, metavar="DAY", help="The last day, such as 2026-05-31; without: today.")(function)
    return click.option("--from", "first_day", type=day, metavar="DAY", help="The first day; without: the first of the last day's month.")(
        function
    )


def days(first_day: datetime | None, last_day: datetime | None) -> dict[str, date | None]:
    """The arguments of the client's methods for what ``period_options`` were given."""
    return {"first_day": first_day and first_day.date(), "last_day": last_day and last_day.date()}


@click.command()
@period_options
@connected(Access.TENANT, for_tenant=True)
async def usage(session: Session, first_day: datetime | None, last_day: datetime | None) -> None:
    """Show what was used, by day of UTC."""
    async with session.client() as client:
        tell_usage(session, await client.get_usage(**days(first_day, last_day)))


def tell_usage(session: Session, found: Sequence[UsageDay]) -> None:
    """A line a day, and of several days their sum."""
    if session.as_json:
        for day in found:
            output.print_message(day)
        return
    rows = [_row(day.day, [day]) for day in found]
    if len(found) > 1:
        rows.append(_row("all", found))
    headings = ("DAY", "TRAINED", "UNCHANGED", "FAILED", "PAGES", "BYTES", "TIME OF STAGES")
    output.print_table(headings, rows, nothing="Nothing was used in these days.")


def _row(name: str, found: Sequence[UsageDay]) -> tuple[object, ...]:
    stages: dict[str, float] = {}
    for stage in (stage for day in found for stage in day.stages):
        stages[stage.stage] = stages.get(stage.stage, 0.0) + times.seconds(stage.duration)
    counts = [sum(getattr(day, field) for day in found) for field in ("trained", "unchanged", "failed", "pages")]
    took = ", ".join(f"{stage} {times.span(seconds)}" for stage, seconds in sorted(stages.items()))
    return name, *(f"{count:,}" for count in counts), output.size(sum(day.bytes for day in found)), took


@click.command()
@connected(Access.TENANT, for_tenant=True)
async def limits(session: Session) -> None:
    """Show what the plan allows, and how much of it is in use."""
    async with session.client() as client:
        found = await client.get_limits()
    if session.as_json:
        output.print_message(found)
        return
    click.echo(output.printable(f"Plan {found.plan}{_suspended(found)}."))
    rows = [
        ("slots: documents at once, handed-out ones", *_allowance(found.slots)),
        ("trainings that have not ended", *_allowance(found.open_trainings)),
        ("documents that have not ended", *_allowance(found.open_documents)),
        ("uploads", *_allowance(found.upload_bytes, output.size)),
        ("documents of one training", "-", output.limit(found.training_documents, "any")),
        ("calls a second, at each coordinator", "-", output.limit(found.requests_per_second, "any")),
        ("watches at once, at each coordinator", "-", f"{found.watches or 1_000:,}"),
        ("bytes of one document, of whatever plan", "-", output.size(found.document_bytes)),
        *_of_request(found),
    ]
    output.print_table(("LIMIT", "USED", "ALLOWED"), rows, nothing="")


def _suspended(found: GetLimitsResponse) -> str:
    return f", suspended{f': {found.suspend_reason}' if found.suspend_reason else ''}" if found.suspended else ""


def _of_request(found: GetLimitsResponse) -> list[tuple[str, str, str]]:
    """What one start may be; nothing of a coordinator that does not tell."""
    if not found.request_bytes:
        return []
    return [
        ("bytes of one start, of whatever plan", "-", output.size(found.request_bytes)),
        ("documents of one start without a manifest", "-", f"{found.request_documents:,}"),
        ("fields of one start", "-", f"{found.request_fields:,}"),
    ]


def _allowance(one: Allowance, told: Callable[[int], str] = "{:,}".format) -> tuple[str, str]:
    return told(one.used), told(one.limit) if one.limit else "any"


@click.command()
@click.option("--tenant", "tenant_id", default="", help="Only what concerns this tenant, which may be gone; no entry is no error.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(min=0), help="How many at most; 0: all.")
@connected(Access.OPERATOR)
async def audit(session: Session, tenant_id: str, limit: int) -> None:
    """Show what operators and tenants changed, the newest first."""
    found: list[AuditEntry] = []
    async with session.client() as client:
        async for entry in client.fleet.list_audit_log(tenant_id=tenant_id, page_size=min(limit or 1000, 1000)):
            if session.as_json:
                output.print_message(entry)
            found.append(entry)
            if len(found) == limit:
                break
    if not session.as_json:
        nothing = f"The audit log has nothing of a tenant {tenant_id!r}." if tenant_id else "Nothing was changed."
        rows = [(times.moment(one.time), _who(one), one.call, one.outcome, one.sentence) for one in found]
        output.print_table(("WHEN", "WHO", "CALL", "OUTCOME", "WHAT"), rows, nothing=nothing)


def _who(entry: AuditEntry) -> str:
    from doctrain.v1.fleet_pb2 import ROLE_TENANT, Role

    whose = entry.tenant_id if entry.role == ROLE_TENANT else Role.Name(entry.role).removeprefix("ROLE_").lower()
    return f"{whose} (key {entry.key_id})"


COMMANDS: tuple[click.Command, ...] = (usage, limits, audit)
