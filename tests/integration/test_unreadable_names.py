"""URIs that lead to no file and no object, and a file system that fails: what is told, and what is worth another try."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from doctrain_mesh.documents.blobs import BlobStore, open_object
from doctrain_mesh.documents.errors import BlobForbiddenError, BlobNotFoundError
from doctrain_mesh.documents.sources import Sources
from doctrain_mesh.errors import BlobUnavailableError, DoctrainError
from doctrain_mesh.network.uris import UriRules


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("open")
    return tmp_path


@pytest.fixture
def sources(root: Path) -> Iterator[Sources]:
    made = Sources(BlobStore("memory:///"), UriRules(file_root=str(root)))
    yield made
    made.close()


@pytest.mark.parametrize("name", ["a.txt/b", "a.txt/b/c", "itself", "round/a.txt", "socket", "missing/a.txt"])
async def test_a_path_that_leads_to_no_file_is_not_tried_again(sources: Sources, root: Path, name: str) -> None:
    (root / "itself").symlink_to(root / "itself")
    (root / "round").symlink_to(root / "about")
    (root / "about").symlink_to(root / "round")
    with socket.socket(socket.AF_UNIX) as listener, contextlib.chdir(root):
        listener.bind("socket")
    with pytest.raises(BlobNotFoundError, match=r"^There is no(thing| file) at this URI"):
        await sources.get("acme", f"file://{root}/{name}", 9)


@pytest.mark.parametrize(
    ("code", "error", "sentence"),
    [
        (errno.EACCES, BlobForbiddenError, "The file system does not let doctrain read this."),
        (errno.EIO, BlobUnavailableError, "The file system did not answer (opening a file)."),
    ],
)
async def test_a_file_system_that_fails_is_not_called_an_object_store(
    sources: Sources, root: Path, monkeypatch: pytest.MonkeyPatch, code: int, error: type[DoctrainError], sentence: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("os.open", fail)
    with pytest.raises(error) as caught:
        await sources.get("acme", f"file://{root}/a.txt", 9)
    assert caught.value.sentence == sentence


@pytest.mark.parametrize("key", ["../x", "a//b", "."])
async def test_a_key_that_the_library_of_object_stores_refuses_names_nothing(key: str) -> None:
    with pytest.raises(BlobNotFoundError, match=r"no object can have"):
        async with open_object(MemoryStore(), key, 0):
            pass
