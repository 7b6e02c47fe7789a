"""How a document is read and cut: all that decides its chunks beside its bytes, as a hash that stands with them in the index.

A newer training of the same bytes by the same recipe and the same model would write the same rows, so it reads nothing again.
"""

from __future__ import annotations

import hashlib

import msgspec

from doctrain_worker.pipeline.plugins import Stages
from doctrain_worker.pipeline.processor import DocumentTask
from doctrain_worker.pipeline.wire import ReadLimits

VERSION = 1
"""Of our stages ``read`` and ``chunk``: raised with each change of what they make of a document."""


class Recipes:
    """Those of one worker. A stage of the operator's own counts by its name: what it does may change unseen."""

    def __init__(self, stages: Stages, model: str, limits: ReadLimits) -> None:
        self._common = (VERSION, stages.read, stages.chunk, model, msgspec.to_builtins(limits))

    def of(self, document: DocumentTask) -> bytes:
        """The recipe of a document; what its tenant says of it is a hint for the reader."""
        hints = document.media_type, document.uri.rpartition("/")[2], document.document_id
        return hashlib.sha256(msgspec.msgpack.encode((*self._common, *hints))).digest()
