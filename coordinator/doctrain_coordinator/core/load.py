"""What a worker says of itself in the registry, believed only as far as it can be true; None is what it does not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MOST_CPUS, MOST_BYTES, MOST_COUNT, MOST_SECONDS = 1_000_000, 2**60, 2**53, 10**9
MOST_CHILDREN = 100_000
MOST_BOOT_ID = 64


@dataclass(frozen=True, slots=True)
class Load:
    """What a worker says of itself, in one boot and one session.

    Shares are 0 to 1; ``failure_share`` is of the tries that ended in the last minute.
    """

    boot_id: str = ""
    session: int | None = None
    cpu: float | None = None
    memory_bytes: int | None = None
    memory_share: float | None = None
    disk_free_share: float | None = None
    loop_lag_seconds: float | None = None
    children: int | None = None
    documents_running: int | None = None
    documents_ended: int | None = None
    documents_per_second: float | None = None
    tries_in_last_minute: int | None = None
    failure_share: float | None = None


def read(said: Mapping[str, object]) -> Load:
    """The load that a record tells: any worker may write what it likes there."""
    boot = said.get("boot_id")
    return Load(
        boot if isinstance(boot, str) and len(boot) <= MOST_BOOT_ID and boot.isprintable() else "",
        _whole(said.get("session"), MOST_COUNT),
        _number(said.get("cpu"), MOST_CPUS),
        _whole(said.get("memory_bytes"), MOST_BYTES),
        _number(said.get("memory_share"), 1),
        _number(said.get("disk_free_share"), 1),
        _number(said.get("loop_lag_seconds"), MOST_SECONDS),
        _whole(said.get("children"), MOST_CHILDREN),
        _whole(said.get("documents_running"), MOST_COUNT),
        _whole(said.get("documents_ended"), MOST_COUNT),
        _number(said.get("documents_per_second"), MOST_COUNT),
        _whole(said.get("tries_in_last_minute"), MOST_COUNT),
        _number(said.get("failure_share"), 1),
    )


def _number(value: object, most: int) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most else None


def _whole(value: object, most: int) -> int | None:
    number = _number(value, most)
    return None if number is None else int(number)
