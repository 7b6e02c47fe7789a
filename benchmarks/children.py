"""Functions that benchmarks run in a worker's children: ``child:benchmarks.children:noop``."""

from __future__ import annotations

import time
from typing import Any


def noop(task: dict[str, Any]) -> None:
    """Nothing."""


def burn(task: dict[str, Any]) -> None:
    """5 ms of CPU."""
    until = time.thread_time() + 0.005
    while time.thread_time() < until:
        pass
