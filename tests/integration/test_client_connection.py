"""To whom the client connects and as whom, and what is said when it cannot."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import grpc
import pytest

from doctrain import AsyncClient, Client, DocumentInput, errors
from doctrain.v1 import fleet_pb2
from testkit.scripted_service import UNAVAILABLE, ScriptedService, serving


def documents(count: int) -> list[DocumentInput]:
    return [DocumentInput(document_id=f"d{n}", content=b"x") for n in range(count)]


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, grpc.ServerCredentials]:
    """A self-signed certificate of localhost: its file and the server's side of it."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])


async def test_tls_by_the_given_authority_and_not_without(
    service: ScriptedService, certificate: tuple[Path, grpc.ServerCredentials]
) -> None:
    authority, credentials = certificate
    async with serving(service, credentials) as secure:
        async with AsyncClient(secure.address, api_key="secret", ca=authority) as client:
            assert (await client.start_training(documents(1))).summary.documents == 1
        async with AsyncClient(secure.address, api_key="secret", ca="system") as client:
            with pytest.raises(errors.UnavailableError, match=r"not signed by the authority|not one that ca trusts"):
                await client.upload(b"x")


@pytest.mark.parametrize("address", ["", "localhost", "http://localhost:7700", "localhost:99999", ":7700"])
def test_a_wrong_address_is_refused_in_a_sentence(address: str) -> None:
    with pytest.raises(ValueError, match="localhost:7700"):
        AsyncClient(address, api_key="secret")


@pytest.mark.parametrize("key", ["", "  \n", "dt tenant", "dt_tenant_\u00fc", "one\ntwo", "a\x00b"])
def test_what_can_be_no_key_is_refused_before_anything_is_sent(key: str) -> None:
    for kind in (AsyncClient, Client):
        with pytest.raises(errors.InvalidKeyError) as caught:
            kind("localhost:1", api_key=key)
        assert isinstance(caught.value, errors.AccessError)
        assert isinstance(caught.value, ValueError)
        assert not key.strip() or key not in str(caught.value), "a key is a secret"


def test_the_answer_that_has_a_key_is_no_key_and_its_text_is_asked_for() -> None:
    answer: Any = fleet_pb2.CreateKeyResponse(key="dt_tenant_1", key_id=1)
    for kind in (AsyncClient, Client):
        with pytest.raises(errors.UsageError, match=r"of type CreateKeyResponse; give its text, which is the `\.key`") as caught:
            kind("localhost:1", api_key=answer)
        assert "dt_tenant_1" not in str(caught.value), "a key is a secret"


async def test_white_space_around_a_key_is_dropped(service: ScriptedService) -> None:
    async with serving(service) as now, AsyncClient(now.address, api_key=" secret\n") as client:
        await client.start_training(documents(1))
    assert service.keys == {"Bearer secret"}


def test_a_wrong_ca_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(errors.UsageError, match=r"none\.pem cannot be read: No such file"):
        AsyncClient("localhost:1", api_key="secret", ca=tmp_path / "none.pem")
    (tmp_path / "text.pem").write_text("no certificate")
    with pytest.raises(errors.UsageError, match="contains no certificate"):
        AsyncClient("localhost:1", api_key="secret", ca=tmp_path / "text.pem")


async def test_tls_on_one_side_only_is_told_with_what_to_do(
    service: ScriptedService, certificate: tuple[Path, grpc.ServerCredentials]
) -> None:
    authority, credentials = certificate
    async with serving(service) as plain, serving(service, credentials) as secure:
        for address, ca, said in (
            (plain.address, authority, "this server speaks no TLS; leave out ca"),
            (plain.address, "system", "this server speaks no TLS; leave out ca"),
            (secure.address, None, "this server speaks TLS; name its authority by ca"),
            (secure.address.replace("localhost", "127.0.0.1"), authority, "certificate is for another name"),
        ):
            async with AsyncClient(address, api_key="secret", ca=ca) as client:
                with pytest.raises(errors.UnavailableError, match=said):
                    await client.upload(b"x")


async def test_the_error_of_several_addresses_names_them_all_and_speaks_with_a_services_words(service: ScriptedService) -> None:
    service.failures["GetTraining"] = [UNAVAILABLE] * 100
    async with serving(service) as now:
        for _ in range(4):  # whichever the client begins with
            async with AsyncClient(["localhost:1", now.address], api_key="secret") as client:
                with pytest.raises(errors.UnavailableError) as caught:
                    await client.get_training("t")
            assert caught.value.reason == "DEPENDENCY_UNAVAILABLE"
            assert str(caught.value) == ("Postgres did not answer. (Also tried: localhost:1: connection refused: nothing listens there.)")
    async with AsyncClient("localhost:1,no-such-host.invalid:2", api_key="secret") as client:
        for call in (client.get_training("t"), anext(client.watch("t", patience_seconds=0.5))):
            with pytest.raises(errors.UnavailableError) as caught:
                await call
            assert "localhost:1: connection refused: nothing listens there" in str(caught.value)
            assert "no-such-host.invalid:2: there is no such host" in str(caught.value)
