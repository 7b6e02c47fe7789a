"""Blobs, and whatever else a URI names, on real stores: a folder, memory, a web server, and one that speaks S3."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
import stat
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from doctrain_mesh.documents.artifacts import Origin
from doctrain_mesh.documents.blobs import BlobStore
from doctrain_mesh.documents.errors import BlobChangedError, BlobForbiddenError, BlobNotFoundError, BlobRangeError, BlobTooLargeError
from doctrain_mesh.documents.sources import Sources
from doctrain_mesh.errors import BlobUnavailableError, InvalidRequestError
from doctrain_mesh.network.uris import UriRules
from testkit.certificates import self_signed
from testkit.web import Site, serve

LARGE = bytes(range(256)) * 40_000  # ten million bytes
HELLO = "blob://2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    return BlobStore("memory:///" if request.param == "memory" else (tmp_path / "a folder" / "blobs").as_uri())


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


def test_a_folder_for_blobs_is_its_makers_alone_and_one_that_stands_is_left_as_it_is(tmp_path: Path) -> None:
    missing, shared = tmp_path / "above" / "blobs", tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o2770)
    for folder in (missing, shared, missing):
        BlobStore(folder.as_uri())
    assert stat.S_IMODE(missing.stat().st_mode) == 0o700
    assert stat.S_IMODE(shared.stat().st_mode) == 0o2770


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


async def test_a_range_that_the_object_does_not_have_is_the_uris_fault(store: BlobStore) -> None:
    await store.put("acme", b"hello")
    assert await store.get("acme", f"{HELLO}/1/4", 9) == b"ello"
    for wrong in ("100/5", "5/1", "0/500", "3/3"):
        with pytest.raises(BlobRangeError, match="has 5;"):
            await store.get("acme", f"{HELLO}/{wrong}", 999)
    with pytest.raises(BlobNotFoundError):
        await store.get("acme", f"blob://{'0' * 64}/0/5", 9)


@pytest.mark.parametrize("fault", ["the stream", "the limit", "the store"])
async def test_an_upload_that_fails_leaves_nothing_behind(tmp_path: Path, fault: str) -> None:
    class Broken(Exception):
        pass

    async def broken() -> AsyncIterator[bytes]:
        async for piece in pieces(LARGE):
            yield piece
        if fault == "the stream":
            raise Broken

    kept = BlobStore((tmp_path / "kept").as_uri())
    final = (await kept.put("acme", LARGE)).uri.removeprefix("blob://")
    store = BlobStore((tmp_path / "blobs").as_uri())
    if fault == "the store":
        (tmp_path / "blobs" / "tenants" / "acme" / final[:2] / final / "in the way").mkdir(parents=True)
    with pytest.raises({"the stream": Broken, "the limit": BlobTooLargeError}.get(fault, BlobUnavailableError)):
        await store.put_stream("acme", broken(), len(LARGE) - (fault == "the limit"))
    assert stored_files(tmp_path / "blobs") == []


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


async def test_an_object_that_is_replaced_while_it_is_read_is_never_mixed(sources: Sources, site: Site) -> None:
    site.pages["/bucket/a"] = LARGE
    for offset in (0, 1_000):
        site.pages["/bucket/a"] = LARGE
        async with sources.open_ranged("acme", "s3://bucket/a", offset) as opened:
            site.pages["/bucket/a"] = LARGE[::-1]
            if offset:
                with pytest.raises(BlobChangedError):
                    await anext(opened.pieces)
            else:
                assert b"".join([piece async for piece in opened.pieces]) == LARGE


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
    site.redirects |= {"/moved": "/a", "/loop": "/loop", "/away": "file:///etc/passwd", "/nowhere": "http://[bad/"}
    site.statuses |= {"/busy": (503, {"Retry-After": "7"}), "/mine": (403, {}), "/gone": (410, {})}
    assert await sources.get("acme", site.uri("/moved"), 9) == b"hello"
    for path, error in (
        ("/loop", BlobForbiddenError),
        ("/away", BlobForbiddenError),
        ("/nowhere", BlobForbiddenError),
        ("/mine", BlobForbiddenError),
        ("/gone", BlobNotFoundError),
    ):
        with pytest.raises(error):
            await sources.get("acme", site.uri(path), 9)
    with pytest.raises(BlobUnavailableError) as busy:
        await sources.get("acme", site.uri("/busy"), 9)
    assert busy.value.retry_after_seconds == 7
    for unreadable in ("soon", "Mon, 01 Jan 2020 00:00:00 +99999999999999999999"):
        site.statuses["/busy"] = 503, {"Retry-After": unreadable}
        with pytest.raises(BlobUnavailableError) as busy:
            await sources.get("acme", site.uri("/busy"), 9)
        assert busy.value.retry_after_seconds == 2


async def test_an_answer_that_breaks_off_is_no_document(sources: Sources, site: Site) -> None:
    site.pages["/a"] = b"hello" * 1000
    site.cut_after = 2000
    with pytest.raises(BlobUnavailableError):
        await sources.get("acme", site.uri("/a"), 10_000)
    with pytest.raises(BlobUnavailableError):
        await rest(sources, site.uri("/a"), 0)


class Names:
    """What names lead to instead of the resolver's answers, and which were asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **known: list[str]) -> None:
        self.asked: list[str] = []
        self._known = known
        monkeypatch.setattr(socket, "getaddrinfo", self._resolve)

    def _resolve(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self._known[host.partition(".")[0]]]


async def test_a_name_that_leads_to_a_private_address_is_not_connected_to(root: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(monkeypatch, rebound=["127.0.0.1"], both=["203.0.113.7", "127.0.0.1"])
    sources = Sources(BlobStore("memory:///"), UriRules(file_root=str(root)))
    for name in ("rebound.example.com", "both.example.com"):
        with pytest.raises(BlobForbiddenError, match="private"):
            await sources.get("acme", f"https://{name}:{site.port}/a", 9)
    assert names.asked == ["rebound.example.com", "both.example.com"]
    sources.close()


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [(socket.EAI_NONAME, BlobNotFoundError, "no host named misspelt"), (socket.EAI_AGAIN, BlobUnavailableError, "no name server answered")],
)
async def test_a_name_that_nobody_has_is_told_from_name_servers_that_are_away(
    root: Path, monkeypatch: pytest.MonkeyPatch, code: int, error: type[Exception], words: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(code, "so it is")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    sources = Sources(BlobStore((root / "blobs").as_uri()), UriRules())
    with pytest.raises(error, match=words):
        await sources.get("acme", "https://misspelt.example/x", 9)
    sources.close()


async def test_each_redirect_is_looked_up_once_and_judged_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = self_signed(tmp_path)
    server_side, client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    server_side.load_cert_chain(certificate, key)
    client_side.check_hostname, client_side.verify_mode = False, ssl.CERT_NONE

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        host = b"inner.example.com" if b"GET /in" in asked else b"other.example.com"
        location = b"" if b"GET /end" in asked else b"Location: https://%b:%d/end\r\n" % (host, port)
        writer.write(b"HTTP/1.1 %b\r\n%bContent-Length: 5\r\n\r\nhello" % (b"302 Found" if location else b"200 OK", location))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server_side)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setattr("doctrain_mesh.network.addresses.is_public", lambda address: address == ipaddress.ip_address("127.0.0.1"))
    names = Names(monkeypatch, web=["127.0.0.1"], other=["127.0.0.1"], inner=["127.0.0.2"])
    sources = Sources(BlobStore("memory:///"), UriRules(), tls=client_side)
    async with server:
        assert await sources.get("acme", f"https://web.example.com:{port}/out", 9) == b"hello"
        assert names.asked == ["web.example.com", "other.example.com"]
        with pytest.raises(BlobForbiddenError, match="private"):
            await sources.get("acme", f"https://web.example.com:{port}/in", 9)
    sources.close()


@pytest.mark.parametrize("moment", ["https://", "http://"], ids=["in the handshake", "in the answer"])
async def test_giving_up_a_silent_server_closes_its_connection_and_stops_nothing_else(sources: Sources, moment: str) -> None:
    met, left = asyncio.Event(), asyncio.Event()

    async def stay_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"" if moment == "https://" else b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx")
        met.set()
        try:
            while await reader.read(1000):
                continue
        except ConnectionError:
            pass
        finally:
            writer.close()
            left.set()

    arrived = asyncio.Event()

    async def make_room(_: int) -> None:
        arrived.set()

    async with await asyncio.start_server(stay_silent, "127.0.0.1", 0) as server:
        uri = f"{moment}127.0.0.1:{server.sockets[0].getsockname()[1]}/a"
        fetch = asyncio.create_task(sources.get("acme", uri, 100, make_room))
        await (met if moment == "https://" else arrived).wait()
        began = asyncio.get_running_loop().time()
        fetch.cancel()
        await asyncio.wait({fetch})
        await left.wait()
        assert asyncio.get_running_loop().time() - began < 5
        assert fetch.cancelled()


async def test_nobody_listening_is_worth_another_try(sources: Sources) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(BlobUnavailableError):
            await sources.get("acme", f"http://127.0.0.1:{closed.getsockname()[1]}/a", 9)


async def test_artifacts_are_of_one_document_and_go_with_it_or_by_age(store: BlobStore) -> None:
    artifacts = store.artifacts
    mine, others = (
        Origin(1, "acme", "a/b.pdf", b"1"),
        [Origin(1, "acme", "a", b"1"), Origin(2, "globex", "a/b.pdf", b"1"), Origin(1, "acme", "a/b.pdf", b"2")],
    )
    for origin in (mine, *others):
        await artifacts.put(origin, "one", b"first")
        await artifacts.put(origin, "one", b"first")
    await artifacts.put(mine, "two", b"second")
    assert await artifacts.sizes(mine) == {"one": 5, "two": 6}
    assert await artifacts.get(mine, "two") == b"second"
    await artifacts.remove(mine, "two")
    await artifacts.remove(mine, "two")
    assert sum([count async for count in artifacts.remove_older(datetime.now(UTC) - timedelta(hours=1))]) == 0
    await artifacts.remove_document(1, "acme", "a/b.pdf")
    assert [await artifacts.sizes(origin) for origin in (mine, *others)] == [{}, {"one": 5}, {"one": 5}, {}]
    assert sum([count async for count in artifacts.remove_older(datetime.now(UTC) + timedelta(hours=1))]) == 2
    assert [await artifacts.sizes(origin) for origin in others] == [{}, {}, {}]
