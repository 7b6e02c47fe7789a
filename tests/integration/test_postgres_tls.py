"""Postgres over TLS, as DOCTRAIN_DATABASE_URL says it: who is trusted, what is shown, and what is said of it when that fails.

The wheel's Postgres has no TLS: what stands before it speaks it, as a cloud's own or PgBouncer does.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from doctrain_mesh import postgres as mesh_postgres
from doctrain_mesh.errors import StoreUnavailableError
from testkit.certificates import Signed, self_signed, signed
from testkit.coordinator import coordinators
from testkit.indexing import indexing, train
from testkit.postgres import PostgresServer
from testkit.proxy import proxy

pytestmark = [pytest.mark.timeout(120)]


@pytest.fixture
def made(tmp_path: Path) -> Signed:
    return signed(tmp_path / "certs")


@pytest.fixture
def stranger(tmp_path: Path) -> tuple[Path, Path]:
    return self_signed(tmp_path, "stranger")


@asynccontextmanager
async def served(port: int, made: Signed, *, asks: bool = False) -> AsyncIterator[int]:
    """The port on which the Postgres at ``port`` speaks TLS, and asks for certificates."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(made.ca))
    context.load_cert_chain(*made.server)
    context.verify_mode = ssl.CERT_REQUIRED if asks else ssl.CERT_NONE
    async with proxy("127.0.0.1", port, postgres_tls=context) as front:
        yield front.port


def url(port: int, mode: str = "verify-full", *, host: str = "127.0.0.1", **files: Path) -> str:
    return f"postgresql://postgres@{host}:{port}/postgres?sslmode={mode}" + "".join(f"&{name}={file}" for name, file in files.items())


async def reach(address: str) -> int:
    pool = await mesh_postgres.create_pool(address, size=1, name="test")
    async with mesh_postgres.acquired(pool, "asking") as connection:
        answer = await connection.fetchval("select 1")
    await mesh_postgres.close_pool(pool)
    return int(answer)


async def test_documents_are_trained_and_found_over_tls(
    postgres: str, shared_postgres: PostgresServer, made: Signed, tmp_path: Path
) -> None:
    async with served(shared_postgres.port, made, asks=True) as port:
        shown = url(port, sslrootcert=made.ca, sslcert=made.client[0], sslkey=made.client[1])
        address = shown.replace("/postgres?", f"/{postgres.rpartition('/')[2]}?")
        async with coordinators(address, tmp_path) as mesh, indexing(mesh):
            acme = await mesh.tenant("acme")
            assert (await train(acme, {"a": "The old harbour."})).completed == 1
            assert [hit.document_id for hit in await acme.search("harbour")] == ["a"]


async def test_a_server_is_trusted_by_its_authority_and_its_name(
    shared_postgres: PostgresServer, made: Signed, stranger: tuple[Path, Path], tmp_path: Path
) -> None:
    async with served(shared_postgres.port, made) as port:
        assert await reach(url(port, sslrootcert=made.ca)) == 1
        assert await reach(url(port, "verify-ca", host="localhost", sslrootcert=made.ca)) == 1
        for address, sentence in (
            (url(port, sslrootcert=stranger[0]), "is not reached with TLS: its certificate is not accepted: self.signed"),
            (url(port, host="localhost", sslrootcert=made.ca), "its certificate is not accepted: Hostname mismatch.*'localhost'"),
            (url(port, sslrootcert=made.server[1]), "is not reached with TLS: TLS: "),
            (url(port, sslrootcert=tmp_path / "none.pem"), "names a file that cannot be read: sslrootcert=.*none.pem"),
            (url(shared_postgres.port, sslrootcert=made.ca), "rejected SSL upgrade"),
        ):
            with pytest.raises(StoreUnavailableError, match=sentence):
                await mesh_postgres.connect(address)
            with pytest.raises(StoreUnavailableError, match=sentence):
                await reach(address)


async def test_a_server_that_asks_for_certificates_is_shown_ours(
    shared_postgres: PostgresServer, made: Signed, stranger: tuple[Path, Path]
) -> None:
    async with served(shared_postgres.port, made, asks=True) as port:
        assert await reach(url(port, sslrootcert=made.ca, sslcert=made.client[0], sslkey=made.client[1])) == 1
        for address in (
            url(port, sslrootcert=made.ca),
            url(port, sslrootcert=made.ca, sslcert=stranger[0], sslkey=stranger[1]),
        ):
            with pytest.raises(StoreUnavailableError, match="did not answer"):
                await reach(address)
