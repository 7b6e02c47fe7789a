"""The open documents of a shard as the tracker sent them, one by one as the processor takes them."""

from __future__ import annotations

from collections.abc import Iterator

from doctrain_mesh.v1 import tracker_pb2 as pb
from doctrain_worker.pipeline.processor import DocumentTask


class Documents:
    """Columns of documents, or a template with a number."""

    def __init__(self, documents: pb.OpenDocuments) -> None:
        self._runs = list(zip(documents.run_first, documents.run_count, strict=True))
        before, separator, after = documents.uri_template.partition("{n}")
        self._numbered = bool(separator)
        self._before, self._after, self._offset = before, after, documents.number_offset
        self._ids, self._uris = list(documents.document_ids), list(documents.uris)
        self._media_types, self._metadata = list(documents.media_types), list(documents.metadata)

    def ordinals(self) -> Iterator[int]:
        """All ordinals, ascending."""
        for first, count in self._runs:
            yield from range(first, first + count)

    def task(self, ordinal: int) -> DocumentTask:
        """The document of an ordinal."""
        if self._numbered:
            number = str(ordinal + self._offset)
            return DocumentTask(ordinal, number, self._before + number + self._after)
        place = self._place(ordinal)
        return DocumentTask(
            ordinal,
            self._ids[place],
            self._uris[place],
            self._media_types[place] if self._media_types else "",
            self._metadata[place] if self._metadata else "",
        )

    def _place(self, ordinal: int) -> int:
        before = 0
        for first, count in self._runs:
            if ordinal < first + count:
                return before + ordinal - first
            before += count
        raise KeyError(ordinal)
