"""A worker that cannot start, or cannot go on, says why and ends."""

from __future__ import annotations

import os
import signal

import pytest

from doctrain_mesh.broker.memory import MemoryBroker
from doctrain_mesh.errors import DoctrainError
from doctrain_mesh.registry.memory import MemoryRegistry
from doctrain_mesh.settings import Settings
from doctrain_server.services import worker
from doctrain_worker.sandbox.main.link import Guardian, GuardianLostError
from testkit.worker import Documents, working


async def test_children_that_do_not_start_end_the_worker_with_a_sentence() -> None:
    settings = Settings(processor="child:no_such_module:function", sandbox="rlimit")
    with pytest.raises(DoctrainError, match=r"no process for documents starts; see what it printed\. A child for no_such_module:function"):
        async with worker.running(settings, broker=MemoryBroker(), registry=MemoryRegistry()):
            pytest.fail("it runs")


async def test_a_worker_whose_guardian_dies_ends_although_it_finds_no_coordinator() -> None:
    with pytest.RaisesGroup(GuardianLostError):
        async with Guardian.open() as guardian, working(MemoryBroker(), Documents(), guardian=guardian, wait=False) as running:
            os.kill(guardian.pid, signal.SIGKILL)
            await running.session.opened.wait()
