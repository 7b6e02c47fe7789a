"""Spans of a shard and of a sample of its documents, made from what was timed anyway."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from doctrain_mesh.observability import telemetry
from doctrain_worker.pipeline.processor import DocumentTask, Done, Outcome

_NS = 1_000_000_000


class DocumentSpans:
    """Children of one shard's span. ``share`` of the documents, chosen by their ordinal, get one."""

    def __init__(self, span: Span, share: float, traceparent: str) -> None:
        self._span, self._every = span, round(1 / share) if share > 0 else 0
        self.recording = span.is_recording() and self._every > 0
        self.traceparent = traceparent

    def document(self, document: DocumentTask, tries: int, seconds: float, outcome: Outcome) -> None:
        """A document ended just now."""
        if document.ordinal % self._every:
            return
        end = time.time_ns()
        attributes: dict[str, str | int] = {
            "doctrain.document_id": document.document_id,
            "doctrain.ordinal": document.ordinal,
            "doctrain.tries": tries,
        }
        span = telemetry.tracer().start_span(
            "document", trace.set_span_in_context(self._span), attributes=attributes, start_time=end - int(seconds * _NS)
        )
        within = trace.set_span_in_context(span)
        for stage in outcome.stages:
            start = int(stage.start * _NS)
            part = telemetry.tracer().start_span(stage.name, within, attributes=dict(stage.attributes), start_time=start)
            part.end(start + int(stage.seconds * _NS))
        if isinstance(outcome, Done):
            span.set_attributes({"doctrain.chunks": outcome.chunks, "doctrain.superseded": outcome.superseded})
        else:
            span.set_attribute("doctrain.error_code", outcome.code)
            span.set_status(Status(StatusCode.ERROR, outcome.code))
        span.end(end)


@contextmanager
def shard_span(traceparent: str, key: tuple[int, int], worker: str, share: float) -> Iterator[DocumentSpans]:
    """The span of one hold of a shard, below the message that brought it."""
    attributes = {"doctrain.shard": key[0], "doctrain.number": key[1], "doctrain.worker": worker}
    with telemetry.span("shard", parent=traceparent, kind=SpanKind.CONSUMER, attributes=attributes) as span:
        yield DocumentSpans(span, share, telemetry.headers().get("traceparent", "") if span.is_recording() else traceparent)
