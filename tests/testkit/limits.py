"""What documents may take of a worker in tests; ``dataclasses.replace`` for another."""

from __future__ import annotations

from doctrain_worker.pipeline.limits import Limits

MIB = 1 << 20

LIMITS = Limits(
    children=1,
    fetch_seconds=20,
    call_seconds=20,
    total_seconds=120,
    document_memory_bytes=1024 * MIB,
    max_document_bytes=40 * MIB,
    max_document_chunks=4000,
    max_document_pages=100,
    ocr_languages="eng+deu",
    read_archives=False,
)
