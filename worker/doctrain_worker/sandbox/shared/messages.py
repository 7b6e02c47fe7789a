"""What a worker's main process and its guardian say to each other: orders one way, events the other, JSON on a SOCK_SEQPACKET pair.

The one table of both. Standard library only.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from doctrain_worker.sandbox.shared.launch import Launch

LARGEST_ORDER = 1 << 16
LARGEST_EVENT = 1 << 16


class Cause(StrEnum):
    """Why a child ended: by itself, on order, with all others, or for what it had too much of."""

    OWN = "own"
    KILLED = "killed"
    FENCED = "fenced"
    MEMORY = "memory"
    SPACE = "space"
    PROCESSES = "processes"


@dataclass(frozen=True, slots=True)
class Spawn:
    """An order: start a child, named ``key`` from now on."""

    key: int
    launch: Launch


@dataclass(frozen=True, slots=True)
class Kill:
    """An order: end a child and all below it."""

    key: int


@dataclass(frozen=True, slots=True)
class Fence:
    """An order: end all children, unless this epoch is over."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Spawned:
    """An event: a child runs. The main process's ends of its channel and of what it prints come with it."""

    key: int
    pid: int


@dataclass(frozen=True, slots=True)
class NotSpawned:
    """An event: a child was not started."""

    key: int
    why: str


@dataclass(frozen=True, slots=True)
class Exited:
    """An event: nothing of a child is left. ``status`` is as ``waitpid`` gives it, ``rss_kb`` the most memory of one of its processes."""

    key: int
    status: int
    rss_kb: int
    cause: Cause


@dataclass(frozen=True, slots=True)
class Fenced:
    """An event: all children are dead, and this epoch begins."""

    epoch: int
    cause: str


Order: TypeAlias = Spawn | Kill | Fence
Event: TypeAlias = Spawned | NotSpawned | Exited | Fenced

_ORDERS: dict[str, type[Order]] = {"spawn": Spawn, "kill": Kill, "fence": Fence}
_EVENTS: dict[str, type[Event]] = {"spawned": Spawned, "refused": NotSpawned, "exited": Exited, "fenced": Fenced}
_NAMES = {kind: name for name, kind in [*_ORDERS.items(), *_EVENTS.items()]}


def packed_order(order: Order) -> bytes:
    """The bytes of it that are sent."""
    return json.dumps({"order": _NAMES[type(order)], **asdict(order)}).encode()


def packed_event(event: Event) -> bytes:
    """The bytes of it that are sent."""
    return json.dumps({"event": _NAMES[type(event)], **asdict(event)}).encode()


def read_order(message: bytes) -> Order:
    """What ``packed_order`` made."""
    fields: dict[str, Any] = json.loads(message)
    kind = _ORDERS[fields.pop("order")]
    return Spawn(fields["key"], Launch(**fields["launch"])) if kind is Spawn else kind(**fields)


def read_event(message: bytes) -> Event:
    """What ``packed_event`` made."""
    fields: dict[str, Any] = json.loads(message)
    kind = _EVENTS[fields.pop("event")]
    return Exited(**{**fields, "cause": Cause(fields["cause"])}) if kind is Exited else kind(**fields)
