"""Traces and logs: the OpenTelemetry API for the product's code, the SDK set up once a process, W3C trace context between.

Without an endpoint nothing is recorded and a span costs next to nothing; a collector that is away or hangs loses spans,
never time: the SDK exports from a thread of its own and drops what does not fit its queue.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import context, propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind

from doctrain_mesh.errors import BrokerUnavailableError, RegistryUnavailableError, StoreUnavailableError

_TRACER = trace.get_tracer("doctrain")


def tracer() -> trace.Tracer:
    """The product's tracer."""
    return _TRACER


def context_of(traceparent: str) -> Context:
    """The context that a ``traceparent`` names; an empty or malformed one starts a trace of its own."""
    return propagate.extract({"traceparent": traceparent}) if traceparent else Context()


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


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        current = trace.get_current_span().get_span_context()
        if current.is_valid:
            fields["trace_id"] = f"{current.trace_id:032x}"
            fields["span_id"] = f"{current.span_id:016x}"
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


_TOLD_BY_OUTAGE = (StoreUnavailableError, BrokerUnavailableError, RegistryUnavailableError)
_TOLD_BY_US = ("aio_pika", "aiormq", "asyncpg")
"""Libraries whose errors reach our own code, which tells what they mean."""


class _OnceAnOutage(logging.Filter):
    """Drops what each loop says of a part that is away: ``outage`` tells it once for all of them."""

    def filter(self, record: logging.LogRecord) -> bool:
        arguments = record.args if isinstance(record.args, tuple) else ()
        return not any(isinstance(argument, _TOLD_BY_OUTAGE) for argument in arguments)


def configure_logging(level: str, form: str) -> None:
    """Sends the process's log to standard error, as text or as JSON lines with trace ids."""
    handler = logging.StreamHandler(sys.stderr)
    if logging.getLevelName(level) > logging.DEBUG:
        handler.addFilter(_OnceAnOutage())
        for library in _TOLD_BY_US:
            logging.getLogger(library).setLevel(logging.CRITICAL)
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(_JsonFormatter() if form == "json" else text)
    logging.basicConfig(level=level, handlers=[handler], force=True)


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
