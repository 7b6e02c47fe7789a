"""A coordinator that cannot come up leaves nothing behind."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from doctrain_coordinator import app
from doctrain_mesh.broker.memory import MemoryBroker
from doctrain_mesh.documents.sources import Sources
from doctrain_mesh.errors import RegistryUnavailableError
from doctrain_mesh.registry.memory import MemoryRegistry
from doctrain_mesh.settings import Settings


class Deaf(MemoryRegistry):
    """A registry that takes nobody in."""

    async def register(self, *_: Any, **__: Any) -> Any:
        raise RegistryUnavailableError("The registry did not answer.")


async def test_one_that_goes_away_gives_the_threads_back_that_look_names_up(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Sources] = []

    def close(sources: Sources) -> None:
        closed.append(sources)

    monkeypatch.setattr(Sources, "close", close)
    settings = Settings(database_url=postgres, blob_url=tmp_path.as_uri(), listen="127.0.0.1:0", drain_seconds=1.0)
    async with app.running(settings, broker=MemoryBroker(), registry=MemoryRegistry()):
        assert closed == []
    assert len(closed) == 1


async def test_one_that_the_registry_does_not_take_in_stops_serving(postgres: str, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = Settings(database_url=postgres, blob_url=tmp_path.as_uri(), listen=f"127.0.0.1:{port}", drain_seconds=1.0)
    with pytest.RaisesGroup(RegistryUnavailableError):
        async with app.running(settings, broker=MemoryBroker(), registry=Deaf()):
            pytest.fail("it was not registered")
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))
