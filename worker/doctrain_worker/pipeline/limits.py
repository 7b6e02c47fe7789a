"""What documents may take of a worker."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """One a worker, for all of its documents.

    Args:
        children: processes of each kind that compute at once.
        fetch_seconds: longest time until all of a document's bytes have come.
        call_seconds: longest time of one call in a child.
        total_seconds: longest time of a document from its start to its end, all waiting included.
        document_memory_bytes: most memory of a process that reads a document.
        max_document_bytes: largest document.
        max_document_chunks: a document with more is refused.
    """

    children: int
    fetch_seconds: float
    call_seconds: float
    total_seconds: float
    document_memory_bytes: int
    max_document_bytes: int
    max_document_chunks: int
