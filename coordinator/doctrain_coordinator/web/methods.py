"""What the page may call: the unary methods of the services for tenants and operators, and the watch of one training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from doctrain.v1 import fleet_pb2, search_pb2, training_pb2

_SERVICES = tuple(
    file.DESCRIPTOR.services_by_name[name]
    for file, name in ((training_pb2, "TrainingService"), (search_pb2, "SearchService"), (fleet_pb2, "FleetService"))
)
_STREAMS = frozenset({"doctrain.v1.TrainingService.WatchStatus"})


@dataclass(frozen=True, slots=True)
class Method:
    """One that may be called: its path in gRPC, its messages, and whether it answers a stream."""

    path: str
    request: type[Message]
    response: type[Message]
    streams: bool


def _method(service: str, method: MethodDescriptor) -> Method:
    request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    return Method(f"/{service}/{method.name}", request, response, method.server_streaming)


METHODS: Mapping[tuple[str, str], Method] = {
    (service.name, method.name): _method(service.full_name, method)
    for service in _SERVICES
    for method in service.methods
    if not method.client_streaming and (not method.server_streaming or method.full_name in _STREAMS)
}
"""By the names of service and method, such as ``("FleetService", "ListWorkers")``."""
