"""What is called in children is there; what a parsing child may answer: anything else is nonsense, and none of it grows."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import msgpack

from doctrain_worker.pipeline.methods import EMBED, PARSE, Method
from doctrain_worker.pipeline.wire import CHUNKS_A_CALL
from doctrain_worker.sandbox.child.server import load
from doctrain_worker.sandbox.shared import frames

CHUNK = [0, 5, 1, "Heading", "Words.", "part.txt"]


def progress(**changed: Any) -> bytes:
    part = {"media_type": "text/plain", "name": "read", "start": 1.0, "facts": {"pages": 3}, "chunks": [CHUNK]}
    part |= {"slices": [["", 1, 2, b"slice"]]} | changed
    timing = [part["name"], part["start"], 0.5, part["facts"]]
    return msgpack.encode([part["slices"], part["chunks"], [part["media_type"], [timing] * changed.get("stages", 1)]])


@pytest.mark.parametrize("method", [PARSE, EMBED])
def test_what_is_called_in_children_is_there(method: Method[Any]) -> None:
    assert callable(load(method.function))
    assert callable(load(method.prepare))


def test_an_answer_is_read() -> None:
    read = frames.decoded(progress(chunks=[CHUNK] * CHUNKS_A_CALL), PARSE.answer)
    assert read.parsed is not None
    assert (read.parsed.stages[0].attributes, read.chunks[0].text, read.slices[0].value) == ({"pages": 3}, "Words.", b"slice")


@pytest.mark.parametrize(
    "changed",
    [
        {"chunks": [CHUNK] * (CHUNKS_A_CALL + 1)},
        {"chunks": [[0, 5, 1, "", "x" * 100_001]]},
        {"chunks": [[0, 5, 1, "x" * 100_001, ""]]},
        {"chunks": [[0, 5, 1, "", "a\0b"]]},
        {"chunks": [[-1, 5, 1, "", ""]]},
        {"chunks": None},
        {"slices": [["", 1, 2, b""]] * 10_001},
        {"slices": [["", 1, 2, []]]},
        {"stages": 21},
        {"media_type": "x" * 201},
        {"name": "x" * 51},
        {"start": -1.0},
        {"start": 1e300},
        {"start": float("inf")},
        {"start": float("nan")},
        {"facts": dict.fromkeys(map(str, range(51)), 1)},
        {"facts": {"pages": 2**63}},
        {"facts": {"pages": "x" * 2001}},
        {"facts": {"pages": []}},
    ],
)
def test_what_is_no_such_answer_or_too_large_is_nonsense(changed: dict[str, Any]) -> None:
    with pytest.raises(frames.NonsenseError):
        frames.decoded(progress(**changed), PARSE.answer)
