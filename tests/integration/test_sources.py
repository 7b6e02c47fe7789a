"""Blobs, and whatever else a URI names, on real stores: a folder, memory, a web server, and one that speaks S3."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from doctrain_mesh.blobs import BlobForbiddenError, BlobNotFoundError, BlobStore, BlobTooLargeError
from doctrain_mesh.errors import BlobUnavailableError, InvalidRequestError
from doctrain_mesh.sources import Sources
from doctrain_mesh.uris import UriRules
from testkit.web import Site, serve

LARGE = bytes(range(256)) * 40_000  # ten million bytes
HELLO = "blob://2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    return BlobStore("memory:///" if request.param == "memory" else (tmp_path / "a folder" / "blobs").as_uri().replace("%20", " "))


@pytest.fixture
def site() -> Iterator[Site]:
    with serve() as served:
        yield served


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    return folder


@pytest.fixture
def sources(root: Path, site: Site) -> Iterator[Sources]:
    s3 = {
        "endpoint": f"http://127.0.0.1:{site.port}",
        "skip_signature": True,
        "virtual_hosted_style_request": False,
        "region": "us-east-1",
    }
    made = Sources(BlobStore("memory:///"), UriRules(file_root=str(root), allow_private_addresses=True), s3_options=s3)
    yield made
    made.close()


def stored_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def pieces(content: bytes, size: int = 1 << 20) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def rest(sources: Sources | BlobStore, uri: str, offset: int) -> tuple[int, bytes]:
    async with sources.open_ranged("acme", uri, offset) as opened:
        assert opened.etag
        return opened.size, b"".join([piece async for piece in opened.pieces])


async def test_the_same_bytes_have_the_same_uri(store: BlobStore) -> None:
    stored = await store.put("acme", b"hello")
    assert (stored.uri, stored.size) == (HELLO, 5)
    assert await store.put_stream("acme", pieces(b"hello", 2), 5) == stored
    assert await store.get("acme", HELLO, 5) == b"hello"


async def test_no_tenant_reads_what_another_stored(store: BlobStore) -> None:
    await store.put("acme", b"hello")
    for other in ("acme2", "acm", "../acme", "x/../acme", "ACME", ".", ""):
        with pytest.raises(BlobNotFoundError):
            await store.get(other, HELLO, 5)
    await store.put("../acme", b"other")
    with pytest.raises(BlobNotFoundError):
        await store.get("acme", "blob://../x", 5)


async def test_a_stream_is_stored_up_to_its_limit(store: BlobStore) -> None:
    stored = await store.put_stream("acme", pieces(LARGE), len(LARGE))
    assert stored.size == len(LARGE)
    assert await store.get("acme", stored.uri, len(LARGE)) == LARGE
    with pytest.raises(BlobTooLargeError):
        await store.put_stream("acme", pieces(LARGE + b"x"), len(LARGE))
    with pytest.raises(BlobTooLargeError):
        await store.get("acme", stored.uri, len(LARGE) - 1)


async def test_documents_of_a_request_are_packed_and_each_is_read_alone(tmp_path: Path) -> None:
    store = BlobStore(tmp_path.as_uri())
    contents = [os.urandom(1 + n % 3000) for n in range(2000)] + [LARGE, b""]
    uris = await store.put_many("acme", contents)
    assert len(uris) == len(contents)
    for n in (0, 1, 999, 1999, 2000, 2001):
        assert await store.get("acme", uris[n], len(LARGE)) == contents[n]
    with pytest.raises(BlobTooLargeError):
        await store.get("acme", uris[1999], len(contents[1999]) - 1)
    assert len(stored_files(tmp_path)) < 5
    assert await store.put_many("acme", contents) == uris


async def test_a_blob_is_read_on_from_an_offset(store: BlobStore) -> None:
    stored = await store.put("acme", LARGE)
    for offset in (0, 1_234_567, len(LARGE)):
        assert await rest(store, stored.uri, offset) == (len(LARGE), LARGE[offset:])


@pytest.mark.parametrize("kind", ["file", "s3", "http", "http without ranges"])
async def test_every_source_is_read_whole_and_from_an_offset(sources: Sources, site: Site, root: Path, kind: str) -> None:
    (root / "a b.bin").write_bytes(LARGE)
    site.pages |= {"/bucket/folder/a.bin": LARGE, "/x/ü y": LARGE}
    site.ranges = kind != "http without ranges"
    uri = {"file": f"file://{root}/a%20b.bin", "s3": "s3://bucket/folder/a.bin"}.get(kind, site.uri("/bucket/folder/a.bin"))
    assert await sources.get("acme", uri, len(LARGE)) == LARGE
    for offset in (0, 1_234_567, len(LARGE)):
        assert await rest(sources, uri, offset) == (len(LARGE), LARGE[offset:])
    with pytest.raises(BlobTooLargeError):
        await sources.get("acme", uri, len(LARGE) - 1)
    missing = uri.replace("a.bin", "b.bin").replace("a%20b", "b")
    with pytest.raises(BlobNotFoundError):
        await sources.get("acme", missing, 10)
    with pytest.raises(BlobNotFoundError):
        await rest(sources, missing, 0)


async def test_no_link_leads_out_of_the_root(sources: Sources, root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text("secret")
    (root / "inside.txt").write_text("open")
    (root / "file").symlink_to(tmp_path / "outside" / "secret.txt")
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "fine").symlink_to(root / "inside.txt")
    os.mkfifo(root / "pipe")
    assert await sources.get("acme", f"file://{root}/fine", 9) == b"open"
    for name in ("file", "folder/secret.txt"):
        with pytest.raises(BlobForbiddenError):
            await sources.get("acme", f"file://{root}/{name}", 9)
        with pytest.raises(BlobForbiddenError):
            await rest(sources, f"file://{root}/{name}", 0)
    for name in ("pipe", "folder"):
        with pytest.raises((BlobNotFoundError, BlobForbiddenError)):
            await sources.get("acme", f"file://{root}/{name}", 9)
    with pytest.raises(InvalidRequestError):
        await sources.get("acme", f"file://{root}/../outside/secret.txt", 9)


async def test_no_other_door_leads_into_the_store_of_blobs(tmp_path: Path, site: Site) -> None:
    """``file://`` and ``s3://`` read with the operator's rights, so what tenants uploaded is shut off from them."""
    store = BlobStore((tmp_path / "root" / "blobs").as_uri())
    stored = await store.put("acme", b"hello")
    (path,) = stored_files(tmp_path)
    (tmp_path / "root" / "link").symlink_to(tmp_path / "root" / "blobs")
    in_folder = Sources(store, UriRules(file_root=str(tmp_path / "root"), blob_url=(tmp_path / "root" / "blobs").as_uri()))
    through_link = str(path).replace("/blobs/", "/link/")
    for uri in (path.as_uri(), f"file://{through_link}", path.as_uri().replace("/blobs/", "/x/../blobs/")):
        with pytest.raises(InvalidRequestError):
            await in_folder.get("other", uri, 9)
    assert await in_folder.get("acme", stored.uri, 9) == b"hello"
    in_folder.close()
    assert UriRules(blob_url="s3://blobs/prefix").reason("s3://blobs/prefix/tenants/acme/x") is not None
    assert UriRules(blob_url="s3://blobs/prefix").reason("s3://other/x") is None


async def test_what_a_web_server_answers_is_told_apart(sources: Sources, site: Site) -> None:
    site.pages["/a"] = b"hello"
    site.redirects |= {"/moved": "/a", "/loop": "/loop", "/away": "file:///etc/passwd"}
    site.statuses |= {"/busy": (503, {"Retry-After": "7"}), "/mine": (403, {}), "/gone": (410, {})}
    assert await sources.get("acme", site.uri("/moved"), 9) == b"hello"
    for path, error in (
        ("/loop", BlobForbiddenError),
        ("/away", BlobForbiddenError),
        ("/mine", BlobForbiddenError),
        ("/gone", BlobNotFoundError),
    ):
        with pytest.raises(error):
            await sources.get("acme", site.uri(path), 9)
    with pytest.raises(BlobUnavailableError) as busy:
        await sources.get("acme", site.uri("/busy"), 9)
    assert busy.value.retry_after_seconds == 7


async def test_an_answer_that_breaks_off_is_no_document(sources: Sources, site: Site) -> None:
    site.pages["/a"] = b"hello" * 1000
    site.cut_after = 2000
    with pytest.raises(BlobUnavailableError):
        await sources.get("acme", site.uri("/a"), 10_000)
    with pytest.raises(BlobUnavailableError):
        await rest(sources, site.uri("/a"), 0)


async def test_a_name_that_leads_to_a_private_address_is_not_connected_to(root: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", site.port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    sources = Sources(BlobStore("memory:///"), UriRules(file_root=str(root)))
    with pytest.raises(BlobForbiddenError, match="private"):
        await sources.get("acme", "https://rebound.example.com/a", 9)
    assert asked == ["rebound.example.com"]
    sources.close()


async def test_nobody_listening_is_worth_another_try(sources: Sources) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(BlobUnavailableError):
            await sources.get("acme", f"http://127.0.0.1:{closed.getsockname()[1]}/a", 9)
