"""Keeps a process's own spans in memory, to show a trace where no collector runs."""

from __future__ import annotations

from collections import defaultdict
from types import TracebackType
from typing import Self

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


class Recorder:
    """Records every span of the process while open. For the demo: it keeps them all."""

    def __init__(self) -> None:
        self._kept = InMemorySpanExporter()
        self._provider = TracerProvider(shutdown_on_exit=False)
        self._provider.add_span_processor(SimpleSpanProcessor(self._kept))

    def __enter__(self) -> Self:
        trace.set_tracer_provider(self._provider)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self._provider.shutdown()

    def summary(self, trace_id: str) -> list[str]:
        """A line a name of span within one trace, the longest in all first."""
        seconds: dict[str, list[float]] = defaultdict(list)
        for span in self._kept.get_finished_spans():
            if span.context is not None and f"{span.context.trace_id:032x}" == trace_id and span.start_time and span.end_time:
                seconds[span.name].append((span.end_time - span.start_time) / 1e9)
        rows = sorted(seconds.items(), key=lambda item: -sum(item[1]))
        return [f"{name:<32} {len(took):>4} x, {sum(took) * 1000:>8.0f} ms in all" for name, took in rows]
