"""How long calls take and how they end, by method; those that last as long as somebody looks are not measured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from doctrain_coordinator import metrics
from doctrain_coordinator.rpc.policies import policy_of


@dataclass(slots=True)
class Call:
    """One call; ``status`` is the name of its gRPC status."""

    status: str = "OK"


@contextmanager
def measured(method: str) -> Iterator[Call]:
    """Measures a call of ``/service/method`` until its end."""
    call, began = Call(), time.monotonic()
    try:
        yield call
    except asyncio.CancelledError:
        call.status = "CANCELLED"
        raise
    finally:
        if policy_of(method).traced:
            service, _, name = method.lstrip("/").partition("/")
            metrics.CALLS.record(time.monotonic() - began, service, name, call.status)
