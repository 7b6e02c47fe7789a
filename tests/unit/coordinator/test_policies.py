"""Every method of every service has a policy, and a method without one is nobody's."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from doctrain.v1 import search_pb2, training_pb2
from doctrain_coordinator.core import sharding
from doctrain_coordinator.core.stages import MOST_COUNTS, MOST_STAGES
from doctrain_coordinator.rpc import tracker_requests, wire
from doctrain_coordinator.rpc.policies import POLICIES, PUBLIC
from doctrain_coordinator.rpc.search_requests import MOST_DOCUMENTS
from doctrain_coordinator.rpc.server import SERVICES
from doctrain_coordinator.rpc.tracker_requests import MOST_AT_ONCE
from doctrain_coordinator.rpc.training_requests import MOST_CLASSES, MOST_RETRIED
from doctrain_mesh.stages import STAGES
from doctrain_mesh.v1 import tracker_pb2
from doctrain_worker.core.results import MOST
from doctrain_worker.tracking import messages

MOST_SLOTS_OF_A_LANE = 64
"""As the settings have it."""


def test_every_method_has_a_policy_and_no_policy_is_without_a_method() -> None:
    pool = descriptor_pool.Default()
    methods = {f"/{service}/{method.name}" for service in SERVICES for method in pool.FindServiceByName(service).methods}
    assert {path for path in POLICIES if path.startswith("/doctrain")} == methods
    assert all(POLICIES[path].role != PUBLIC for path in methods)


def test_what_is_public_tells_nothing_of_tenants() -> None:
    known = {
        f"/{service.full_name}/"
        for file in (health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR)
        for service in file.services_by_name.values()
    }
    public = {path.rpartition("/")[0] + "/" for path, policy in POLICIES.items() if policy.role == PUBLIC}
    assert public == known


def test_what_changes_something_is_known_by_its_name() -> None:
    reads = ("Get", "List", "Watch", "Explain", "Search", "Check", "Server", "Track")
    for path, policy in POLICIES.items():
        assert policy.changes != path.rpartition("/")[2].startswith(reads), path


@pytest.mark.parametrize(
    ("method", "largest"),
    [
        (
            "TrainingService/StartTraining",
            training_pb2.StartTrainingRequest(
                training_task_id="t",
                documents=[training_pb2.DocumentInput(document_id="d", uri="u", media_type="m", metadata={str(n): "v" for n in range(20)})]
                * 10_000,
            ),
        ),
        (
            "TrainingService/RetryFailedDocuments",
            training_pb2.RetryFailedDocumentsRequest(
                document_ids=["d"] * MOST_RETRIED, error_classes=[training_pb2.ERROR_CLASS_CRASH] * MOST_CLASSES
            ),
        ),
        ("SearchService/DeleteDocuments", search_pb2.DeleteDocumentsRequest(document_ids=["d"] * MOST_DOCUMENTS)),
    ],
)
def test_the_largest_requests_have_no_more_fields_than_a_message_may_have(method: str, largest: Message) -> None:
    most = POLICIES[f"/doctrain.v1.{method}"].fields(10_000)
    assert wire.count(largest.SerializeToString(), largest, most) <= most


def _said(*blocks: tracker_pb2.Block) -> tracker_pb2.TrackRequest:
    """As many questions and held shards as a message may have, and these results."""
    refs = [tracker_pb2.ShardRef(shard=2**60 + number, number=1) for number in range(MOST_AT_ONCE)]
    return tracker_pb2.TrackRequest(
        begins=[tracker_pb2.Begin(shard=ref) for ref in refs],
        heartbeat=tracker_pb2.Heartbeat(held=[tracker_pb2.HeldShard(shard=ref.shard, number=1, resize=1) for ref in refs]),
        blocks=blocks,
    )


def _block(documents: int, stages: Sequence[tracker_pb2.Stage]) -> tracker_pb2.Block:
    passed = [tracker_pb2.DocumentStages(ordinal=ordinal + 1, stages=stages) for ordinal in range(documents)]
    column = [1] * sharding.LARGEST_OF_MANY
    return tracker_pb2.Block(sequence=1, shard=tracker_pb2.ShardRef(shard=2**60, number=1), started=column, took=column, passed=passed)


def test_the_largest_messages_of_a_worker_have_no_more_fields_than_one_may_have() -> None:
    """After a while without answers: results of many shards, as a worker spreads them, and of one, with all stages that are kept."""
    counts = {"bytes": 10**9, "pages": 500, "chunks": 2_000}
    usual = _block(MOST_SLOTS_OF_A_LANE, [tracker_pb2.Stage(name=name, start_ms=10**6, took_ms=10**6, counts=counts) for name in STAGES])
    several = messages.MOST_FIELDS // wire.count(usual.SerializeToString(), usual, 2**30)
    most_counts = {f"count {number}": 10**9 for number in range(MOST_COUNTS)}
    whole = _block(MOST + MOST_SLOTS_OF_A_LANE, [tracker_pb2.Stage(name="s", start_ms=1, took_ms=1, counts=most_counts)] * MOST_STAGES)
    policy = POLICIES["/doctrain_mesh.v1.TrackerService/Track"]
    most = policy.fields(0)
    for largest in (_said(*[usual] * several), _said(whole)):
        tracker_requests.check(largest)
        data = largest.SerializeToString()
        assert len(data) <= (policy.most_bytes or 0)
        assert most // 4 < wire.count(data, largest, most) <= most, "nor many more"
