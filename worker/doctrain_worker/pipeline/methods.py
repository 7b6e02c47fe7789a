"""What the worker calls in children: the one table of the methods that both sides know, and of what tells a child how to do them.

A method is a function from one msgpack value to another; the types of both are in ``wire``. What a child is told stands in its
environment: the stages are functions, as ``package.module:attribute``; the model is a ``doctrain_mesh.embedding.choice.Choice`` as text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from msgspec.msgpack import Decoder

from doctrain_worker.pipeline.wire import Embedded, Progress

T = TypeVar("T")

READ_VARIABLE = "_DOCTRAIN_READ"
CHUNK_VARIABLE = "_DOCTRAIN_CHUNK"
MODEL_VARIABLE = "_DOCTRAIN_MODEL"


@dataclass(frozen=True, slots=True)
class Method(Generic[T]):
    """What one kind of children does.

    Args:
        function: it, as ``package.module:attribute``.
        prepare: the same of what a child runs once before.
        answer: decodes what it returns.
    """

    function: str
    prepare: str
    answer: Decoder[T]


PARSE = Method("doctrain_worker.pipeline.child.parse:parse", "doctrain_worker.pipeline.child.parse:prepare", Decoder(Progress))
"""From a ``ParseTask``, or none to go on with the last, by the stages and the model in all three variables."""

EMBED = Method("doctrain_worker.pipeline.child.embed:embed", "doctrain_worker.pipeline.child.embed:prepare", Decoder(Embedded))
"""From a list of texts, by the model in MODEL_VARIABLE."""
