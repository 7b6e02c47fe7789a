"""What main process and guardian say to each other comes back as it was."""

from __future__ import annotations

import pytest

from doctrain_worker.sandbox.shared import messages
from doctrain_worker.sandbox.shared.launch import Launch
from doctrain_worker.sandbox.shared.messages import Cause

LAUNCH = Launch(["python", "-P"], {"PATH": "/bin"}, {"RLIMIT_CORE": 0}, "bwrap", own_user=True, tree_bytes=9)


@pytest.mark.parametrize("order", [messages.Spawn(1, LAUNCH), messages.Kill(2), messages.Fence(3)])
def test_an_order(order: messages.Order) -> None:
    assert messages.read_order(messages.packed_order(order)) == order


@pytest.mark.parametrize(
    "event",
    [
        messages.Spawned(1, 70),
        messages.NotSpawned(1, "no such file"),
        messages.Fenced(4, "deadline"),
        *(messages.Exited(1, 9, 100, cause) for cause in Cause),
    ],
)
def test_an_event(event: messages.Event) -> None:
    read = messages.read_event(messages.packed_event(event))
    assert read == event
    assert not isinstance(read, messages.Exited) or isinstance(read.cause, Cause)
