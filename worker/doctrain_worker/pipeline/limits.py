"""What documents may take of a worker."""

from __future__ import annotations

from dataclasses import dataclass

from doctrain_worker.pipeline.wire import ReadLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits that a worker has for all of its documents.

    Args:
        children: processes of each kind that compute at once.
        fetch_seconds: longest time until all of a document's bytes have come.
        call_seconds: longest time of one call in a child.
        total_seconds: longest time of a document from its start to its end, all waiting included.
        document_memory_bytes: most memory of a process that reads a document.
        max_document_bytes: largest document.
        max_document_chunks: a document with more is refused.
        max_document_pages: likewise; of a document and of each of its parts.
        ocr_languages: what is recognised on pages without text, as in ``eng+deu``.
        read_archives: whether archives are read that do not ask for it themselves.
    """

    children: int
    fetch_seconds: float
    call_seconds: float
    total_seconds: float
    document_memory_bytes: int
    max_document_bytes: int
    max_document_chunks: int
    max_document_pages: int
    ocr_languages: str
    read_archives: bool

    @property
    def reading(self) -> ReadLimits:
        """What a parsing child is told of them."""
        return ReadLimits(
            chunks=self.max_document_chunks,
            pages=self.max_document_pages,
            bytes=self.max_document_bytes,
            languages=self.ocr_languages,
            archives=self.read_archives,
        )
