"""What a tenant used, as calls ask for it and are answered."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from doctrain.v1 import usage_pb2 as pb
from doctrain_coordinator.tenants.usage import Day
from doctrain_mesh.errors import invalid_field

MOST_DAYS = 366


def days(period: pb.UsagePeriod, today: date) -> tuple[date, date]:
    """The first and the last day that are asked for; raises InvalidRequestError."""
    last = _day("period.last_day", period.last_day) or today
    first = _day("period.first_day", period.first_day) or last.replace(day=1)
    if not 0 <= (last - first).days <= MOST_DAYS:
        raise invalid_field("period.first_day", f"The first day must not be after the last, nor more than {MOST_DAYS} days before it.")
    return first, last


def _day(field: str, text: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise invalid_field(field, "There is no such day; give one as 2026-05-31.") from error


def messages(found: Iterable[Day]) -> list[pb.UsageDay]:
    """A message for each day."""
    answered = []
    for one in found:
        message = pb.UsageDay(
            day=one.day.isoformat(), trained=one.trained, unchanged=one.unchanged, failed=one.failed, pages=one.pages, bytes=one.bytes
        )
        for stage, took_ms in sorted(one.stages.items()):
            message.stages.add(stage=stage).duration.FromMilliseconds(took_ms)
        answered.append(message)
    return answered
