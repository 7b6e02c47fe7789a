"""The files of a folder on their way, when it is cut short."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from doctrain import AsyncClient, folder
from doctrain.errors import UsageError
from doctrain.storing import Blob, documents_of, scanned


@pytest.fixture
def found(tmp_path: Path) -> folder.Scan:
    for name in "abcd":
        (tmp_path / name).write_text(name)
    return folder.scan(tmp_path)


async def test_who_is_cancelled_hears_of_it_though_a_file_fails_meanwhile(found: folder.Scan) -> None:
    storing = asyncio.Event()

    async def fails_when_it_is_cancelled(path: Path) -> Blob:
        try:
            storing.set()
            await asyncio.Event().wait()
        finally:
            raise UsageError(f"{path.name} fails.")

    work = asyncio.ensure_future(documents_of(found, fails_when_it_is_cancelled, concurrency=2, strict=False, on_skipped=lambda _: None))
    await storing.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work


async def test_the_first_failure_is_raised_once_the_other_files_have_ended(found: folder.Scan) -> None:
    ended: list[str] = []

    async def one_fails(path: Path) -> Blob:
        try:
            if path.name == "b":
                raise UsageError("b fails.")
            await asyncio.Event().wait()
        finally:
            ended.append(path.name)
        return "", 0

    with pytest.raises(UsageError, match=r"b fails\."):
        await documents_of(found, one_fails, concurrency=3, strict=False, on_skipped=lambda _: None)
    assert sorted(ended) == ["a", "b", "c"]


async def test_nothing_more_of_a_folder_is_looked_at_once_nobody_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        (tmp_path / f"{number}" / "below").mkdir(parents=True)
    looking, goes_on, looked_at, scandir = threading.Event(), threading.Event(), list[Path](), os.scandir

    def slow(path: Path) -> Any:
        looked_at.append(path)
        looking.set()
        goes_on.wait()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", slow)
    work = asyncio.ensure_future(scanned(tmp_path, "**/*", folder.Labels(), strict=False))
    await asyncio.to_thread(looking.wait)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    goes_on.set()
    await asyncio.get_running_loop().shutdown_default_executor()
    assert looked_at == [tmp_path]


def test_an_upload_that_is_given_up_as_its_file_opens_leaves_none_open(tmp_path: Path) -> None:
    """What is left open is closed when it is collected, with a warning, which ends a test."""
    path = tmp_path / "a.txt"
    path.write_text("text")

    async def given_up(turns: int) -> None:
        async with AsyncClient("127.0.0.1:1", api_key="secret") as client:
            upload = asyncio.create_task(client.upload(path))
            for _ in range(turns):
                await asyncio.sleep(0)
            upload.cancel()
            with pytest.raises(asyncio.CancelledError):
                await upload

    for turns in range(30):
        asyncio.run(given_up(turns))
    gc.collect()
