"""One trace a training, from the tenant's call through the queue and the children to the commit."""

from __future__ import annotations

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

import doctrain
from doctrain.v1 import training_pb2 as pb
from testkit.mesh import Mesh
from testkit.otlp import receiver
from testkit.tenants import start, tenant
from testkit.waiting import wait_until

pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("meshes at work")]

STAGES = {"fetch", "detect", "extract", "chunk", "embed", "index"}


async def test_one_trace_connects_call_publish_shard_documents_stages_and_commit(real_mesh: Mesh) -> None:
    async with receiver() as collector:
        settings = {"DOCTRAIN_OTLP_ENDPOINT": collector.endpoint, "DOCTRAIN_TRACE_DOCUMENTS": "1", "DOCTRAIN_PROCESSOR": ""}
        await start(real_mesh, workers=1, settings=settings)
        async with await tenant(real_mesh, "acme", "free") as client:
            documents = [
                pb.DocumentInput(document_id=f"note-{n}", content=f"# Note {n}\n\nThe tide is high at noon.".encode()) for n in range(3)
            ]
            documents.append(pb.DocumentInput(document_id="program", content=b"\x7fELF\x02\x01"))
            started = await client.start_training(documents=documents)
            ended = await client.wait(started.training.training_task_id)
            listed = {d.document_id: d.trace_id async for d in client.list_documents(ended.training_task_id, [pb.DOCUMENT_STATE_FAILED])}
        assert (ended.completed, ended.failed) == (3, 1)
        assert ended.trace_id
        assert listed == {"program": ended.trace_id}

        def names() -> set[str]:
            return {span.name for span in collector.trace(ended.trace_id)}

        wanted = {"doctrain.v1.TrainingService/StartTraining", "shard publish", "shard", "document", "commit", *STAGES}
        await wait_until(lambda: wanted <= names(), 20, f"all of {wanted} arrive")
        spans = {span.span_id: span for span in collector.trace(ended.trace_id)}
    ancestry = {span.name: _ancestors(span.span_id, spans) for span in spans.values()}
    root = "doctrain.v1.TrainingService/StartTraining"
    assert ancestry["embed"] == ["document", "shard", "shard publish", root]
    assert ancestry["commit"][-1] == root
    assert not any("WatchStatus" in span.name or "Health" in span.name or "Track" in span.name for span in collector.spans)
    assert ancestry["extract"] == ancestry["embed"], "of the document that failed, too"
    told = [{fact.key: fact.value for fact in span.attributes} for span in spans.values() if span.name == "document"]
    done, failed = [[facts for facts in told if name in facts] for name in ("doctrain.chunks", "doctrain.error_code")]
    assert [(facts["doctrain.chunks"].int_value, facts["doctrain.superseded"].bool_value) for facts in done] == [(1, False)] * 3
    assert [facts["doctrain.error_code"].string_value for facts in failed] == ["UNSUPPORTED"]


def _ancestors(span_id: bytes, spans: dict[bytes, Span]) -> list[str]:
    names = []
    span = spans[span_id]
    while span.parent_span_id:
        span = spans[span.parent_span_id]
        names.append(span.name)
    return names


async def test_a_dead_collector_slows_nothing(real_mesh: Mesh) -> None:
    await start(real_mesh, workers=1, settings={"DOCTRAIN_OTLP_ENDPOINT": "http://127.0.0.1:1", "DOCTRAIN_TRACE_DOCUMENTS": "1"})
    async with await tenant(real_mesh, "acme", "paid") as client:
        numbered = doctrain.NumberedDocuments(uri_template="s3://test/0/{n}", first=0, count=500)
        started = await client.start_training(numbered=numbered)
        ended = await client.wait(started.training.training_task_id)
    assert ended.completed == 500
