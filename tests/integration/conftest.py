"""The in-process broker, for tests of what stands around it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from doctrain_mesh.broker.memory import MemoryBroker


@pytest.fixture
async def broker() -> AsyncIterator[MemoryBroker]:
    made = MemoryBroker()
    yield made
    await made.close()
