"""A real OTLP receiver: the collector's gRPC service, keeping the spans that processes send it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps every span, by trace."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.endpoint = ""

    async def Export(self, request: Any, context: Any) -> Any:
        """What every exporter calls."""
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        return trace_service_pb2.ExportTraceServiceResponse()

    def trace(self, trace_id: str) -> list[Span]:
        """The spans of one trace."""
        return [span for span in self.spans if span.trace_id.hex() == trace_id]


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver on a free port."""
    server = grpc.aio.server()
    running = Receiver()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(running, server)  # type: ignore[no-untyped-call]
    running.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield running
    finally:
        await server.stop(None)
