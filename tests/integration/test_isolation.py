"""No tenant reaches another's through any field of any call: requests are made from the descriptors, new fields and methods included."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor import FieldDescriptor as Field

import doctrain
from doctrain.v1 import search_pb2, training_pb2, training_pb2_grpc
from doctrain_coordinator.removal import unnamed_uploads
from doctrain_coordinator.rpc.interceptors import FOR_TENANT
from doctrain_coordinator.rpc.policies import policy_of
from doctrain_coordinator.rpc.server import SERVICES
from doctrain_coordinator.tenants.identity import ROLE_TENANT
from testkit.coordinator import Coordinators, coordinators
from testkit.indexing import indexing, train
from testkit.waiting import wait_until

UNSEEN = "heronry"
"""A word in all of acme's that nobody ever asks for; whoever answers it has shown what is acme's."""
PUBLIC = tuple(service for service in SERVICES if service.startswith("doctrain.v1."))
INTEGERS = {Field.TYPE_INT32, Field.TYPE_INT64, Field.TYPE_UINT32, Field.TYPE_UINT64, Field.TYPE_SINT32, Field.TYPE_SINT64}
MANIFEST = b'{"document_id": "own", "uri": "s3://bucket/own"}\n'
MANIFEST_URI = f"blob://{hashlib.sha256(MANIFEST).hexdigest()}"
T = training_pb2
Request = Any


def methods() -> dict[str, Any]:
    """Every method of the public services, by path."""
    pool = descriptor_pool.Default()
    return {f"/{service}/{method.name}": method for service in PUBLIC for method in pool.FindServiceByName(service).methods}


OF_TENANTS = {path.rpartition("/")[2]: path for path in methods() if policy_of(path).role == ROLE_TENANT}


def numbered() -> training_pb2.NumberedDocuments:
    return T.NumberedDocuments(uri_template="s3://bucket/{n}", count=2)


def new() -> str:
    return f"of-zebra-{secrets.token_hex(4)}"


# Of each method, requests of zebra's own that are answered well: what a field of acme's in them makes of the answer is looked at.
# ``open`` is a training of zebra's that runs, ``ended`` one with a document that failed. A method without a case fails the test.
CASES: dict[str, list[Callable[[], Request]]] = {
    "StartTraining": [
        lambda: T.StartTrainingRequest(documents=[T.DocumentInput(document_id="own", uri="s3://bucket/own", metadata={"a": "b"})]),
        lambda: T.StartTrainingRequest(manifest_uri=MANIFEST_URI, training_task_id=new()),
        lambda: T.StartTrainingRequest(numbered=numbered(), training_task_id=new()),
    ],
    "GetTraining": [lambda: T.GetTrainingRequest(training_task_id="ended")],
    "ListTrainings": [T.ListTrainingsRequest],
    "ListDocuments": [lambda: T.ListDocumentsRequest(training_task_id="ended")],
    "WatchStatus": [lambda: T.WatchStatusRequest(training_task_id="ended", include_documents=True)],
    "PauseTraining": [lambda: T.PauseTrainingRequest(training_task_id="open")],
    "ResumeTraining": [lambda: T.ResumeTrainingRequest(training_task_id="open")],
    "CancelTraining": [lambda: T.CancelTrainingRequest(training_task_id="open")],
    "ExplainTraining": [lambda: T.ExplainTrainingRequest(training_task_id="open")],
    "RetryFailedDocuments": [lambda: T.RetryFailedDocumentsRequest(training_task_id="ended", new_training_task_id=new())],
    "UploadDocument": [lambda: T.UploadDocumentRequest(chunk=b"a passage of acme's", last=True)],
    "DropUploads": [T.DropUploadsRequest],
    "Search": [lambda: search_pb2.SearchRequest(query="herons on the river")],
    "DeleteDocuments": [
        lambda: search_pb2.DeleteDocumentsRequest(document_ids=["none"]),
        lambda: search_pb2.DeleteDocumentsRequest(training_task_id="ended"),
    ],
    "GetIndex": [search_pb2.GetIndexRequest],
    "GetUsage": [T.GetUsageRequest],
    "GetLimits": [T.GetLimitsRequest],
}


@dataclass
class Two:
    """Two tenants: acme, who has much, and zebra, who asks."""

    served: Coordinators
    channel: grpc.aio.Channel
    acme: doctrain.AsyncClient
    key: str
    names: list[tuple[str, str]] = field(default_factory=list)
    """What is acme's, each beside what is nobody's and looks alike."""
    positions: list[str] = field(default_factory=list)
    """Page tokens and resume positions that acme was given."""
    numbers: list[int] = field(default_factory=list)

    async def ask(self, path: str, request: Request, **metadata: str) -> tuple[str, bytes]:
        """zebra's call: the status, and all that was answered, sentences and details included."""
        method = methods()[path]
        answers = message_factory.GetMessageClass(method.output_type)
        given = (("authorization", f"Bearer {self.key}"), *((name.replace("_", "-"), value) for name, value in metadata.items()))
        serialize = type(request).SerializeToString

        async def requests() -> AsyncIterator[Request]:
            yield request

        try:
            async with asyncio.timeout(20):
                if method.server_streaming:
                    stream: Any = self.channel.unary_stream(path, serialize, answers.FromString)(request, metadata=given)
                    first = await anext(aiter(stream))
                    stream.cancel()
                    return "OK", first.SerializeToString()
                if method.client_streaming:
                    call: Any = self.channel.stream_unary(path, serialize, answers.FromString)(requests(), metadata=given)
                else:
                    call = self.channel.unary_unary(path, serialize, answers.FromString)(request, metadata=given)
                return "OK", (await call).SerializeToString()
        except grpc.aio.AioRpcError as error:
            trailers = b"".join(value if isinstance(value, bytes) else value.encode() for _, value in error.trailing_metadata() or ())
            return error.code().name, (error.details() or "").encode() + trailers

    async def of_acme(self) -> list[bytes]:
        """All of acme's that anybody could change."""
        found: list[Any] = [training async for training in self.acme.list_trainings()]
        for training in [*found]:
            found += [document async for document in self.acme.list_documents(training.training_task_id)]
        found += await self.acme.search("herons on the river")
        rows = await (await self.served.database()).fetch("select id, label, revoked_at from api_key order by id")
        return [one.SerializeToString() for one in found] + [str(rows).encode()]


@pytest.fixture
async def two(postgres: str, tmp_path: Path) -> AsyncIterator[Two]:
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(coordinators(postgres, tmp_path))
        acme, zebra = await served.tenant("acme"), await served.tenant("zebra")
        async with indexing(served):
            trained = await train(acme, dict.fromkeys(("asked.txt", f"{UNSEEN}.txt"), f"Herons nest by the river; {UNSEEN}."))
            await train(acme, {f"{UNSEEN}-2.txt": UNSEEN}, metadata={UNSEEN: UNSEEN})
            failing = T.DocumentInput(document_id="failed", uri="s3://bucket/none")
            await zebra.start_training([failing], training_task_id="ended")
            await zebra.wait("ended")
        await acme.start_training(numbered=numbered(), training_task_id="acme-open")
        await zebra.start_training(numbered=numbered(), training_task_id="open")
        uploaded = (await acme.upload(b"a passage of acme's")).uri
        await zebra.upload(MANIFEST)
        key = await served.running[0].keys.create(ROLE_TENANT, "acme", UNSEEN)
        made = Two(served, await served.channel(), acme, await served.key(ROLE_TENANT, "zebra"))
        made.names = [
            (trained.training_task_id, secrets.token_hex(16)),
            ("acme-open", "nobodys-open"),
            ("asked.txt", "nobodys.txt"),
            ("acme", "nobody"),
            (uploaded, f"blob://{secrets.token_hex(32)}"),
        ]
        made.positions = await positions(served, await served.key(ROLE_TENANT, "acme"))
        made.numbers = [key.key_id, *await numbers(await served.database())]
        yield made


async def positions(served: Coordinators, key: str) -> list[str]:
    """Those that acme is given."""
    stub: Any = training_pb2_grpc.TrainingServiceStub(await served.channel())
    metadata = (("authorization", f"Bearer {key}"),)
    trainings = await stub.ListTrainings(T.ListTrainingsRequest(page_size=1), metadata=metadata)
    documents = await stub.ListDocuments(T.ListDocumentsRequest(training_task_id="acme-open", page_size=1), metadata=metadata)
    watch = stub.WatchStatus(T.WatchStatusRequest(training_task_id="acme-open"), metadata=metadata)
    first = await anext(aiter(watch))
    watch.cancel()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unnamed_uploads, "AT_ONCE", 1)
        patch.setattr(unnamed_uploads, "CALL_SECONDS", 0.0)
        uploads = await stub.DropUploads(T.DropUploadsRequest(validate_only=True), metadata=metadata)
    found = [trainings.next_page_token, documents.next_page_token, first.resume_position, uploads.resume_position]
    assert all(found)
    return found


async def numbers(database: asyncpg.Connection[Any]) -> list[int]:
    """The number of acme, and those of its trainings."""
    mine = "select id from tenant where name = 'acme'"
    return [row[0] for row in await database.fetch(f"{mine} union all select id from training where tenant in ({mine})")]


def places(kind: Descriptor, above: tuple[Field, ...] = ()) -> Iterator[tuple[Field, ...]]:
    """The way to each field of text or whole numbers."""
    for one in kind.fields:
        way = (*above, one)
        if one.message_type is not None and one.message_type.GetOptions().map_entry:
            yield way
        elif one.message_type is not None:
            yield from places(one.message_type, way)
        elif one.type == Field.TYPE_STRING or one.type in INTEGERS:
            yield way


def put(message: Any, way: tuple[Field, ...], value: str | int) -> None:
    """Writes a value there."""
    first, *rest = way
    target = getattr(message, first.name)
    if rest:
        if first.is_repeated:
            target = target[0] if target else target.add()
        put(target, tuple(rest), value)
    elif first.message_type is not None:
        target.clear()
        target[value] = value
    elif first.is_repeated:
        del target[:]
        target.append(value)
    else:
        setattr(message, first.name, value)


def changed(case: Callable[[], Request], way: tuple[Field, ...], value: str | int) -> Request:
    request = case()
    put(request, way, value)
    return request


def test_every_method_that_tenants_call_has_a_case_and_no_case_is_without_a_method() -> None:
    assert set(CASES) == set(OF_TENANTS)


async def test_what_stands_in_the_cases_is_answered_and_acme_finds_its_own(two: Two) -> None:
    assert UNSEEN.encode() in b"".join(await two.of_acme())
    for name, cases in CASES.items():
        for case in cases:
            status, said = await two.ask(OF_TENANTS[name], case())
            assert status == "OK", (name, said)


@pytest.mark.timeout(300)
async def test_what_is_anothers_is_as_what_is_nobodys_in_every_field_of_every_call(two: Two) -> None:
    before = await two.of_acme()
    shown, told_apart = [], []
    for name, cases in CASES.items():
        path = OF_TENANTS[name]
        for case in cases:
            for way in places(methods()[path].input_type):
                where = f"{name}.{'.'.join(one.name for one in way)}"
                whole = way[-1].type in INTEGERS
                pairs = (
                    [(number, 2**31 - 1 - number) for number in two.numbers] if whole else [*two.names, *((p, "") for p in two.positions)]
                )
                for theirs, nobodys in pairs:
                    status, said = await two.ask(path, changed(case, way, theirs))
                    if UNSEEN.encode() in said:
                        shown.append((where, theirs, said))
                    if nobodys and not whole and status != (await two.ask(path, changed(case, way, nobodys)))[0]:
                        told_apart.append((where, theirs, status))
    assert (shown, told_apart) == ([], [])
    assert await two.of_acme() == before


async def test_no_tenant_acts_for_another_or_makes_the_calls_of_operators(two: Two) -> None:
    before = await two.of_acme()
    for path, method in methods().items():
        request = message_factory.GetMessageClass(method.input_type)
        asked = [case() for case in CASES[method.name]] if method.name in CASES else [request()]
        for one in asked:
            assert (await two.ask(path, one, **{FOR_TENANT: "acme"}))[0] == "PERMISSION_DENIED", path
        if policy_of(path).role == ROLE_TENANT:
            continue
        for way in places(method.input_type):
            for value in two.numbers if way[-1].type in INTEGERS else [name for name, _ in two.names]:
                status, said = await two.ask(path, changed(request, way, value))
                assert (status, UNSEEN.encode() in said) == ("PERMISSION_DENIED", False), path
    assert await two.of_acme() == before


async def test_what_zebra_made_of_acmes_names_shows_nothing_of_acmes_when_it_is_worked_on(two: Two) -> None:
    blob = two.names[-1][0]
    start = OF_TENANTS["StartTraining"]
    for request in (
        T.StartTrainingRequest(training_task_id="by-uri", documents=[T.DocumentInput(document_id="a", uri=blob)]),
        T.StartTrainingRequest(training_task_id="by-manifest", manifest_uri=blob),
    ):
        await two.ask(start, request)
    zebra = await two.served.client(two.key)
    async with indexing(two.served):
        trainings = {training.training_task_id async for training in zebra.list_trainings()}

        async def ended() -> bool:
            return all([(await zebra.get_training(name)).HasField("end_time") for name in trainings & {"by-uri", "by-manifest"}])

        await wait_until(ended)
    for name in trainings:
        documents = [document async for document in zebra.list_documents(name)]
        assert all("passage of acme" not in str(document) for document in documents)
    assert await zebra.search("passage of acme") == []


async def test_who_did_nothing_finds_nothing(two: Two) -> None:
    idle = await two.served.tenant("idle")
    assert [training async for training in idle.list_trainings()] == []
    assert await idle.search("herons on the river") == []
    assert await idle.get_usage() == []
