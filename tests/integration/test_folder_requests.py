"""Folders that are more than one request may name, at a real coordinator: which way they go, and what is stored for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from doctrain import AsyncClient, Stored, errors
from doctrain.v1 import training_pb2 as pb
from testkit.coordinator import Coordinators, coordinators

METADATA = {f"key {n}": "v" * 1000 for n in range(7)}
"""So that 140 documents of it are less than a MiB, and 150 more."""


@dataclass
class Asked(grpc.aio.UnaryUnaryClientInterceptor):
    """What a client asks for; ``starts`` holds none of those that ask whether so many could be started."""

    limits: int = 0
    starts: list[pb.StartTrainingRequest] = field(default_factory=list)

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        self.limits += isinstance(request, pb.GetLimitsRequest)
        if isinstance(request, pb.StartTrainingRequest) and not request.HasField("numbered"):
            self.starts.append(request)
        return await continuation(client_call_details, request)


@asynccontextmanager
async def tenant(served: Coordinators, plan: str = "paid") -> AsyncIterator[tuple[AsyncClient, Asked]]:
    """A client of a tenant, and what it asks for."""
    await served.tenant("acme", plan)
    asked = Asked()
    addresses = [one.address for one in served.running]
    async with AsyncClient(addresses, api_key=await served.key(1, "acme"), interceptors=[asked]) as client:
        yield client, asked


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six files."""
    return files(tmp_path, 6)


def files(within: Path, count: int) -> Path:
    made = within / "folder"
    made.mkdir()
    for n in range(count):
        (made / f"{n:03}.txt").write_text(f"document {n}")
    return made


async def test_more_files_than_the_service_takes_in_one_request_go_by_manifest(postgres: str, tmp_path: Path, folder: Path) -> None:
    async with coordinators(postgres, tmp_path, max_request_documents=5) as served, tenant(served) as (acme, asked):
        dry = await acme.train_folder(folder, validate_only=True)
        assert (dry.summary.documents, (await acme.get_limits()).upload_bytes.used) == (6, 0)
        assert (await acme.train_folder(folder)).training.total == 6
        (folder / "005.txt").unlink()
        await acme.train_folder(folder)
        assert [(len(start.documents), bool(start.manifest_uri)) for start in asked.starts] == [(0, True), (0, True), (5, False)]


async def test_files_of_which_more_is_said_than_one_request_has_bytes_go_by_manifest(postgres: str, tmp_path: Path) -> None:
    root = files(tmp_path, 150)
    async with coordinators(postgres, tmp_path, max_request_bytes=2**20) as served, tenant(served) as (acme, asked):
        assert (await acme.train_folder(root, metadata=METADATA, validate_only=True)).summary.documents >= 140, "of its first MiB"
        started = await acme.train_folder(root, metadata=METADATA)
        assert (started.training.total, started.summary.partial) == (150, False)
        for n in range(140, 150):
            (root / f"{n}.txt").unlink()
        await acme.train_folder(root, metadata=METADATA)
        assert [(len(start.documents), bool(start.manifest_uri)) for start in asked.starts] == [(0, True), (0, True), (140, False)]


async def test_what_a_service_takes_is_asked_once_for_a_folder(postgres: str, tmp_path: Path, folder: Path) -> None:
    async with coordinators(postgres, tmp_path, max_request_documents=5) as served, tenant(served) as (acme, asked):
        await acme.train_folder(folder)
        assert asked.limits == 1


async def test_where_there_is_room_for_the_files_but_not_for_their_manifest_no_file_is_sent(
    postgres: str, tmp_path: Path, folder: Path
) -> None:
    async with coordinators(postgres, tmp_path, max_request_documents=5) as served:
        operator = await served.client(await served.key(3))
        await operator.fleet.put_plan("team", slots=1, upload_bytes=200)
        async with tenant(served, "team") as (acme, _):
            for dry in (True, False):
                stored: list[Stored] = []
                with pytest.raises(errors.QuotaExceededError, match="0 are kept; these files and their manifest have together"):
                    await acme.train_folder(folder, validate_only=dry, on_stored=stored.append)
                assert (stored, (await acme.get_limits()).upload_bytes.used) == ([], 0)
            (folder / "005.txt").unlink()
            assert (await acme.train_folder(folder)).training.total == 5


async def test_where_a_manifest_is_larger_than_a_document_may_be_no_file_is_sent(postgres: str, tmp_path: Path, folder: Path) -> None:
    async with coordinators(postgres, tmp_path, max_request_documents=5, max_document_bytes=200) as served, tenant(served) as (acme, _):
        for dry in (True, False):
            stored: list[Stored] = []
            with pytest.raises(errors.RequestTooLargeError, match="the service takes 200 bytes") as told:
                await acme.train_folder(folder, validate_only=dry, on_stored=stored.append)
            assert (told.value.reason, stored, (await acme.get_limits()).upload_bytes.used) == ("REQUEST_TOO_LARGE", [], 0)
