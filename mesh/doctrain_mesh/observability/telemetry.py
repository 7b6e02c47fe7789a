"""Traces: the OpenTelemetry API for the product's code, the SDK set up once a process, W3C trace context between.

Without an endpoint nothing is recorded and a span costs next to nothing; a collector that is away or hangs loses spans,
never time: the SDK exports from a thread of its own and drops what does not fit its queue.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import context, propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind

_TRACER = trace.get_tracer("doctrain")
LONGEST_TRACEPARENT = 512


def tracer() -> trace.Tracer:
    """The product's tracer."""
    return _TRACER


def context_of(traceparent: str) -> Context:
    """The context that a ``traceparent`` names; an empty or malformed one starts a trace of its own.

    The SDK warns of one that is too long, and who sends it has the log filled with that: it does not get to see it.
    """
    return propagate.extract({"traceparent": traceparent}) if 0 < len(traceparent) <= LONGEST_TRACEPARENT else Context()


def headers() -> dict[str, str]:
    """The current span's W3C headers; empty when nothing records."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier


@contextmanager
def span(
    name: str, *, parent: str | None = None, kind: SpanKind = SpanKind.INTERNAL, attributes: Mapping[str, Any] | None = None
) -> Iterator[Span]:
    """A current span; ``parent`` is a ``traceparent`` from elsewhere, None continues the current one."""
    within = context_of(parent) if parent is not None else context.get_current()
    with _TRACER.start_as_current_span(name, context=within, kind=kind, attributes=dict(attributes or {})) as current:
        yield current


def record_span(name: str, *, parent: str, start_ns: int, attributes: Mapping[str, Any]) -> None:
    """A span of what took from ``start_ns`` (nanoseconds since the epoch) until now, below a ``traceparent``."""
    _TRACER.start_span(name, context_of(parent), attributes=dict(attributes), start_time=start_ns).end()


def trace_id_of(traceparent: str) -> str:
    """The 32 hexadecimal digits of a ``traceparent``; empty for none."""
    parts = traceparent.split("-")
    return parts[1] if len(parts) == 4 else ""


@contextmanager
def exporting(endpoint: str, *, service: str, instance: str) -> Iterator[None]:
    """Exports spans over OTLP/gRPC while open, and what is left at the end within 5 s; does nothing without an endpoint."""
    if not endpoint:
        yield
        return
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": service, "service.instance.id": instance})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=endpoint, insecure=endpoint.startswith("http://"), timeout=5)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=500, export_timeout_millis=5000))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.force_flush(5000)
        provider.shutdown()
