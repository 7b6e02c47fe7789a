"""Every method of every service has a policy, and a method without one is nobody's."""

from __future__ import annotations

from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from doctrain_coordinator.rpc.policies import POLICIES, PUBLIC
from doctrain_coordinator.rpc.server import SERVICES


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
