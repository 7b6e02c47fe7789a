"""The whole mesh on real servers, each part a process of its own.

Tests of it are in one of two groups for xdist, ``meshes at work`` and ``meshes in change``, which take about as long: in one, the rest of
the tests would wait for them; if each were free, a machine of two cores would run more meshes at once than it has room for.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from testkit.etcd import EtcdServer
from testkit.mesh import Mesh, mesh
from testkit.rabbitmq import QueuePlace


@pytest.fixture
def environment(rabbitmq: QueuePlace, own_etcd: EtcdServer, tmp_path: Path) -> dict[str, str]:
    """What all parts of a mesh are told, but for the database."""
    for folder in ("blobs", "documents"):
        (tmp_path / folder).mkdir()
    return {
        "DOCTRAIN_BROKER_URL": rabbitmq.url,
        "DOCTRAIN_BROKER_QUEUE": rabbitmq.queue,
        "DOCTRAIN_REGISTRY_URL": own_etcd.url,
        "DOCTRAIN_BLOB_URL": (tmp_path / "blobs").as_uri(),
        "DOCTRAIN_FILE_ROOT": str(tmp_path / "documents"),
        "DOCTRAIN_LOG_LEVEL": "INFO",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")])),
    }


@pytest.fixture
async def real_mesh(postgres: str, environment: dict[str, str], tmp_path: Path) -> AsyncIterator[Mesh]:
    """No part started yet; servers migrated, an operator and a worker key made."""
    async with mesh(tmp_path, {**environment, "DOCTRAIN_DATABASE_URL": postgres}) as running:
        yield running
