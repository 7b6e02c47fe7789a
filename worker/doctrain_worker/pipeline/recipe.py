"""How a document is read and cut: all that decides its chunks beside its bytes, as a hash that stands with them in the index.

A newer training of the same bytes by the same recipe and the same model would write the same rows, so it reads nothing again.
Slices that are kept go by the part of it that is about reading, so that another way to cut does not have them read again.
"""

from __future__ import annotations

import hashlib

import msgspec

from doctrain_worker.pipeline.plugins import Stages
from doctrain_worker.pipeline.processor import DocumentTask
from doctrain_worker.pipeline.wire import ReadLimits

READING = 4
"""The version of our stage ``read``: raised with each change of the slices that it makes of a document."""

CUTTING = 2
"""The version of our stage ``chunk``: raised with each change of the chunks that it makes of slices."""


class Recipes:
    """The recipes of one worker. A stage of the operator's own counts by its name: what it does may change unseen."""

    def __init__(self, stages: Stages, model: str, limits: ReadLimits) -> None:
        self._all = (READING, CUTTING, stages.read, stages.chunk, model, msgspec.to_builtins(limits))
        self._reading = (READING, stages.read, limits.languages, limits.archives)

    def of(self, document: DocumentTask) -> bytes:
        """The recipe of a document; what its tenant says of it is a hint for the reader."""
        return _digest(self._all, document)

    def of_reading(self, document: DocumentTask) -> bytes:
        """What its slices depend on."""
        return _digest(self._reading, document)


def _digest(how: tuple[object, ...], document: DocumentTask) -> bytes:
    hints = document.media_type, document.file_name
    return hashlib.sha256(msgspec.msgpack.encode((*how, *hints))).digest()
