"""The client against real gRPC servers whose answers the test decides."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest

from doctrain import AsyncClient, Client, DocumentInput, NumberedDocuments, Skipped, Timeouts, TrainingState, errors, folder
from doctrain.v1 import fleet_pb2
from doctrain.v1 import training_pb2 as pb
from testkit.scripted_service import UNAVAILABLE, Failure, ScriptedService, serving


@pytest.fixture
async def service() -> ScriptedService:
    return ScriptedService()


@pytest.fixture
async def client(service: ScriptedService) -> AsyncIterator[AsyncClient]:
    async with serving(service) as serving_now, AsyncClient(serving_now.address, api_key="secret") as client:
        yield client


def documents(count: int) -> list[DocumentInput]:
    return [DocumentInput(document_id=f"d{n}", content=b"x") for n in range(count)]


async def test_a_training_always_has_an_id_and_the_key_goes_with_each_call(client: AsyncClient, service: ScriptedService) -> None:
    first = await client.start_training(documents(2))
    second = await client.start_training(numbered=NumberedDocuments(uri_template="s3://b/{n}", count=7))
    named = await client.start_training(documents(1), training_task_id="mine")
    ids = [answer.training.training_task_id for answer in (first, second, named)]
    assert len(set(ids)) == 3
    assert all(ids)
    assert ids[2] == "mine"
    assert second.summary.documents == 7
    assert service.keys == {"Bearer secret"}
    assert (await client.get_training("mine")).total == 1
    assert (await client.cancel("mine")).state == TrainingState.TRAINING_STATE_CANCELLED


async def test_a_dry_run_starts_nothing(client: AsyncClient, service: ScriptedService) -> None:
    answer = await client.start_training(documents(3), validate_only=True)
    assert answer.summary.documents == 3
    assert not answer.HasField("training")
    assert not service.trainings


async def test_a_passing_outage_is_absorbed_and_starts_one_training(client: AsyncClient, service: ScriptedService) -> None:
    service.failures["StartTraining"] = [UNAVAILABLE, UNAVAILABLE]
    answer = await client.start_training(documents(1))
    asked = service.asked(pb.StartTrainingRequest)
    assert len(asked) == 3
    assert {request.training_task_id for request in asked} == {answer.training.training_task_id}


async def test_only_unavailable_is_retried(client: AsyncClient, service: ScriptedService) -> None:
    violations = {"documents[0].uri": "The scheme ftp is not supported."}
    service.failures["StartTraining"] = [Failure(grpc.StatusCode.INVALID_ARGUMENT, "A field is wrong.", "INVALID_REQUEST", {}, violations)]
    with pytest.raises(errors.InvalidRequestError) as caught:
        await client.start_training(documents(1))
    assert caught.value.violations[0].field == "documents[0].uri"
    assert len(service.asked(pb.StartTrainingRequest)) == 1
    with pytest.raises(errors.TrainingNotFoundError, match="There is no training nowhere"):
        await client.get_training("nowhere")


async def test_a_key_is_never_made_twice_by_a_retry(client: AsyncClient, service: ScriptedService) -> None:
    service.failures["CreateKey"] = [UNAVAILABLE]
    with pytest.raises(errors.UnavailableError):
        await client.fleet.create_key(fleet_pb2.ROLE_TENANT, tenant_id="acme")
    assert len(service.asked(fleet_pb2.CreateKeyRequest)) == 1


async def test_a_call_that_gets_no_answer_says_so_in_its_time(service: ScriptedService) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections, as a frozen process does, and says nothing
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        async with AsyncClient(address, api_key="secret", timeouts=Timeouts(call_seconds=0.3)) as client:
            with pytest.raises(errors.CallTimeoutError, match=r"did not read the training within 0\.3 s"):
                await client.get_training("t")


async def test_another_address_answers_for_one_that_is_away_or_frozen(service: ScriptedService) -> None:
    with socket.create_server(("127.0.0.1", 0)) as frozen, socket.create_server(("127.0.0.1", 0)) as closed:
        away = closed.getsockname()[1]
        closed.close()
        async with serving(service) as alive:
            addresses = [f"127.0.0.1:{away}", f"127.0.0.1:{frozen.getsockname()[1]}", alive.address]
            for _ in range(2):  # whichever of them a client begins with
                async with AsyncClient(addresses, api_key="secret") as client:
                    await client.start_training(documents(1))
                    began = time.monotonic()
                    await client.start_training(documents(1))
                    assert time.monotonic() - began < 1.0, "a client keeps to the address that answered"


async def test_pages_are_fetched_as_they_are_read(client: AsyncClient, service: ScriptedService) -> None:
    for n in range(5):
        await client.start_training(documents(1), training_task_id=f"t{n}")
    service.documents = [
        pb.Document(document_id=f"d{n}", state=pb.DOCUMENT_STATE_FAILED if n % 2 else pb.DOCUMENT_STATE_QUEUED) for n in range(6)
    ]
    trainings = client.list_trainings()
    assert (await anext(trainings)).training_task_id == "t0"
    assert len(service.asked(pb.ListTrainingsRequest)) == 1
    assert [training.training_task_id async for training in trainings] == ["t1", "t2", "t3", "t4"]
    failed = [d.document_id async for d in client.list_documents("t0", [pb.DOCUMENT_STATE_FAILED])]
    assert failed == ["d1", "d3", "d5"]


async def test_uploads_of_bytes_files_and_streams(client: AsyncClient, service: ScriptedService, tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000  # more than two messages
    (tmp_path / "file").write_bytes(content)

    async def stream() -> AsyncIterator[bytes]:
        yield content[:1000]
        yield content[1000:]

    stored = [await client.upload(source) for source in (content, tmp_path / "file", stream())]
    assert {answer.uri for answer in stored} == set(service.blobs)
    assert list(service.blobs.values()) == [content]
    with pytest.raises(errors.InvalidRequestError, match="empty"):
        await client.upload(b"")


async def test_an_upload_is_sent_again_from_its_beginning_but_a_stream_is_not(client: AsyncClient, service: ScriptedService) -> None:
    service.failures["UploadDocument"] = [UNAVAILABLE]
    assert (await client.upload(b"some bytes")).size == 10

    async def stream() -> AsyncIterator[bytes]:
        yield b"some bytes"

    service.failures["UploadDocument"] = [UNAVAILABLE]
    with pytest.raises(errors.UnavailableError, match="Postgres did not answer"):
        await client.upload(stream())


async def test_what_ends_an_upload_in_its_middle_is_told_whoever_wins_the_race(client: AsyncClient, service: ScriptedService) -> None:
    refusal = Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "At most 1 MiB.", "REQUEST_TOO_LARGE")
    service.failures["UploadDocument"] = [refusal] * 20
    refused = await asyncio.gather(*(client.upload(b"x" * 8_000_000) for _ in range(20)), return_exceptions=True)
    assert {(type(error), str(error)) for error in refused} == {(errors.RequestTooLargeError, "At most 1 MiB.")}
    service.failures["UploadDocument"] = [UNAVAILABLE] * 2
    stored = await asyncio.gather(*(client.upload(b"x" * 8_000_000) for _ in range(4)))
    assert [answer.size for answer in stored] == [8_000_000] * 4


async def test_a_folder_is_stored_with_bounded_concurrency_and_trained(
    client: AsyncClient, service: ScriptedService, tmp_path: Path
) -> None:
    for n in range(20):
        (tmp_path / f"{n:02}.txt").write_text(f"document {n}")
    stored: list[Path] = []
    inputs = await client.upload_folder(tmp_path, concurrency=3, on_stored=stored.append)
    assert [document.document_id for document in inputs] == [f"{n:02}.txt" for n in range(20)]
    assert sorted(path.name for path in stored) == [document.document_id for document in inputs]
    assert service.most_uploads <= 3
    answer = await client.train_folder(tmp_path, "0*.txt", training_task_id="folder")
    assert answer.training.total == 10
    request = service.asked(pb.StartTrainingRequest)[-1]
    assert service.blobs[request.documents[3].uri] == b"document 3"


async def test_more_documents_than_a_request_names_go_by_manifest(
    client: AsyncClient, service: ScriptedService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "MAX_INLINE_DOCUMENTS", 2)
    for n in range(3):
        (tmp_path / f"{n}.txt").write_text(f"document {n}")
    await client.train_folder(tmp_path)
    request = service.asked(pb.StartTrainingRequest)[-1]
    assert not request.documents
    assert service.blobs[request.manifest_uri].count(b'"document_id"') == 3


async def test_one_failed_upload_ends_the_folder_with_its_own_error(client: AsyncClient, service: ScriptedService, tmp_path: Path) -> None:
    for n in range(20):
        (tmp_path / f"{n:02}.txt").write_text(f"document {n}")
    service.failures["UploadDocument"] = [Failure(grpc.StatusCode.UNAUTHENTICATED, "This key is not known.", "UNAUTHENTICATED")]
    with pytest.raises(errors.UnauthenticatedError, match="This key is not known"):
        await client.train_folder(tmp_path)
    assert not service.trainings


async def test_the_fleet_is_operated(client: AsyncClient, service: ScriptedService) -> None:
    assert (await client.fleet.list_workers()).workers[0].worker_id == "worker-1"
    assert (await client.fleet.get_queue()).tenants[0].slots == 5
    for name in ("a", "b", "c"):
        await client.fleet.create_tenant(name, plan="free")
    await client.fleet.update_tenant("c", plan="paid", weight=2.0)
    assert [(t.tenant_id, t.plan) async for t in client.fleet.list_tenants()] == [("a", "free"), ("b", "free"), ("c", "paid")]
    await client.fleet.put_plan("paid", slots=30)
    assert [plan.slots for plan in await client.fleet.list_plans()] == [30]
    key = await client.fleet.create_key(fleet_pb2.ROLE_TENANT, tenant_id="a", label="laptop")
    await client.fleet.create_key("worker")
    await client.fleet.create_key("operator", label="me")
    await client.fleet.revoke_key(key.key_id)
    listed = [one async for one in client.fleet.list_keys()]
    assert [(one.key_id, one.role, one.tenant_id, one.HasField("revoke_time")) for one in listed] == [
        (12, fleet_pb2.ROLE_TENANT, "a", True),
        (13, fleet_pb2.ROLE_WORKER, "", False),
        (14, fleet_pb2.ROLE_OPERATOR, "", False),
    ]
    assert [one.label async for one in client.fleet.list_keys(tenant_id="a")] == ["laptop"]
    with pytest.raises(errors.KeyNotFoundError, match="There is no key 999"):
        await client.fleet.revoke_key(999)


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
            assert str(caught.value) == ("Postgres did not answer. (Also tried: localhost:1: nothing listens there (connection refused).)")
    async with AsyncClient("localhost:1,no-such-host.invalid:2", api_key="secret") as client:
        for call in (client.get_training("t"), anext(client.watch("t", patience_seconds=0.5))):
            with pytest.raises(errors.UnavailableError) as caught:
                await call
            assert "localhost:1: nothing listens there (connection refused)" in str(caught.value)
            assert "no-such-host.invalid:2: there is no such host" in str(caught.value)


async def test_states_classes_and_roles_may_be_words(client: AsyncClient, service: ScriptedService) -> None:
    await client.start_training(documents(1), training_task_id="t")
    assert [t.training_task_id async for t in client.list_trainings(["queued", "completed with failures"])] == ["t"]
    assert [t async for t in client.list_trainings("TRAINING_STATE_COMPLETED")] == []
    assert [d async for d in client.list_documents("t", ["failed", pb.DOCUMENT_STATE_QUEUED])] == []
    assert service.asked(pb.ListTrainingsRequest)[0].states == [
        pb.TRAINING_STATE_QUEUED,
        pb.TRAINING_STATE_COMPLETED_WITH_FAILURES,
    ]
    assert service.asked(pb.ListDocumentsRequest)[0].states == [pb.DOCUMENT_STATE_FAILED, pb.DOCUMENT_STATE_QUEUED]
    await client.retry_failed("t", error_classes=["crash"])
    assert service.asked(pb.RetryFailedDocumentsRequest)[0].error_classes == [pb.ERROR_CLASS_CRASH]
    with pytest.raises(errors.UsageError, match=r"'done' is none of: queued, processing, completed, "):
        await anext(client.list_trainings(["done"]))


async def test_one_odd_file_is_left_out_and_the_others_go_on(client: AsyncClient, service: ScriptedService, tmp_path: Path) -> None:
    root = tmp_path / "folder"
    root.mkdir()
    for name in ("a.txt", "b\n.txt", "empty.txt", "c.txt"):
        (root / name).write_text("" if name == "empty.txt" else name)
    (root / os.fsdecode(b"\xff.txt")).write_text("x")
    (tmp_path / "secret.txt").write_text("secret")
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")
    service.failures["UploadDocument"] = [Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "At most 1 MiB.", "REQUEST_TOO_LARGE")]
    skipped: list[Skipped] = []
    inputs = await client.upload_folder(root, concurrency=1, on_skipped=skipped.append)
    assert [document.document_id for document in inputs] == ["c.txt"]
    assert {os.fsencode(one.path.name): one.reason for one in skipped} == {
        b"b\n.txt": "Its name contains line breaks, tabs or other characters that cannot be shown.",
        b"empty.txt": "It is empty.",
        b"link.txt": "It is a link that leads out of the folder.",
        b"\xff.txt": "Its name is not UTF-8.",
        b"a.txt": "At most 1 MiB.",
    }
    assert b"secret" not in service.blobs.values()

    service.blobs.clear()
    with pytest.raises(errors.UsageError, match=r"4 files cannot be trained, so nothing was started:\n(.*\n)*.*empty\.txt: It is empty\."):
        await client.train_folder(root, strict=True)
    assert not service.blobs
    with pytest.raises(errors.UsageError, match="every file was left out"):
        await client.train_folder(root, "empty.txt")


async def test_a_file_that_vanishes_meanwhile_is_left_out(client: AsyncClient, service: ScriptedService, tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(name)
    found = folder.scan(tmp_path)
    (tmp_path / "a.txt").unlink()
    skipped: list[Skipped] = []
    assert (await client.train_folder(found, on_skipped=skipped.append)).training.total == 1
    assert [(one.path.name, one.reason) for one in skipped] == [("a.txt", "It cannot be read: No such file or directory.")]
    with pytest.raises(errors.UsageError, match="1 file cannot be trained"):
        await client.train_folder(found, strict=True)


async def test_an_upload_that_is_refused_names_the_file(client: AsyncClient, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(errors.InvalidRequestError, match=r"empty\.txt: The document is empty\.$"):
        await client.upload(tmp_path / "empty.txt")


async def test_the_sync_client_does_the_same(service: ScriptedService, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")

    async def watch(request: pb.WatchStatusRequest, context: object) -> AsyncIterator[pb.WatchStatusResponse]:
        for version, state in ((1, pb.TRAINING_STATE_PROCESSING), (2, pb.TRAINING_STATE_COMPLETED)):
            training = pb.Training(training_task_id=request.training_task_id, state=state, version=version)
            yield pb.WatchStatusResponse(training=training, resume_position=str(version))

    def use(address: str) -> None:
        with Client(address, api_key="secret") as client:
            started = client.train_folder(tmp_path, training_task_id="t")
            assert started.training.total == 1
            assert [update.training.version for update in client.watch("t")] == [1, 2]
            assert client.wait("t").state == pb.TRAINING_STATE_COMPLETED
            for update in client.watch("t"):  # left early
                assert update.training.version == 1
                break
            client.start_training(documents(1), training_task_id="u")
            client.start_training(documents(1), training_task_id="v")
            assert [training.training_task_id for training in client.list_trainings()] == ["t", "u", "v"]
            service.documents = [pb.Document(document_id="a.txt")]
            assert [document.document_id for document in client.list_documents("t")] == ["a.txt"]
            assert client.upload(b"abc").size == 3
            assert client.cancel("u").state == pb.TRAINING_STATE_CANCELLED
            with pytest.raises(errors.TrainingNotFoundError):
                client.get_training("nowhere")
            assert client.fleet.get_queue().pending_shards == 3
            assert client.fleet.create_tenant("acme", plan="free").plan == "free"
            assert [tenant.tenant_id for tenant in client.fleet.list_tenants()] == ["acme"]
        with pytest.raises(RuntimeError, match="closed"):
            client.get_training("t")

    service.watch = watch
    async with serving(service) as now:
        await asyncio.to_thread(use, now.address)


async def test_a_closed_client_says_so(service: ScriptedService) -> None:
    async with AsyncExitStack() as stack:
        now = await stack.enter_async_context(serving(service))
        client = AsyncClient(now.address, api_key="secret")
        await client.close()
        with pytest.raises(RuntimeError, match="This client is closed"):
            await client.get_training("t")
