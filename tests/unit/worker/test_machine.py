"""What a worker says of its machine, whatever it may not look at."""

from __future__ import annotations

import os

import psutil
import pytest

from doctrain_worker.tracking import machine


@pytest.mark.parametrize("looked_at", ["cpu_times", "memory_info", "children"])
def test_processes_that_may_not_be_looked_at_are_left_out(monkeypatch: pytest.MonkeyPatch, looked_at: str) -> None:
    guardian, look = os.getppid(), getattr(psutil.Process, looked_at)

    def denied(process: psutil.Process, **arguments: bool) -> object:
        if process.pid == guardian:
            raise psutil.AccessDenied(process.pid)
        return look(process, **arguments)

    monkeypatch.setattr(psutil.Process, looked_at, denied)
    measured = machine.Use(guardian).measure()
    assert measured["memory_bytes"] > 0
