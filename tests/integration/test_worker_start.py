"""A worker that cannot start says why."""

from __future__ import annotations

import pytest

from doctrain_mesh.broker.memory import MemoryBroker
from doctrain_mesh.errors import DoctrainError
from doctrain_mesh.registry.memory import MemoryRegistry
from doctrain_mesh.settings import Settings
from doctrain_server.services import worker


async def test_children_that_do_not_start_end_the_worker_with_a_sentence() -> None:
    settings = Settings(processor="child:no_such_module:function", sandbox="rlimit")
    with pytest.raises(DoctrainError, match=r"no process for documents starts; see what it printed\. A child for no_such_module:function"):
        async with worker.running(settings, broker=MemoryBroker(), registry=MemoryRegistry()):
            pytest.fail("it runs")
