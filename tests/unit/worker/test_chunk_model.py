"""Chunks are sized by the model that embeds them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from doctrain_worker.pipeline.methods import MODEL_VARIABLE
from testkit import onnx_folder

CUT = """
import json, sys
from doctrain_worker.text import markdown
from doctrain_worker.pipeline.child.chunk import chunk
from doctrain_worker.pipeline.wire import Slice
text = "\\n\\n".join("bread and fish and rails" for _ in range(20))
print(json.dumps([found.text for found in chunk([Slice("", "text/plain", list(markdown.blocks(text)))])]))
"""


def chunks(model: str) -> list[str]:
    """The chunks as a child cuts them whose model this is."""
    ended = subprocess.run([sys.executable, "-c", CUT], env={**os.environ, MODEL_VARIABLE: model}, capture_output=True, check=True)
    cut: list[str] = json.loads(ended.stdout)
    return cut


def test_a_model_that_takes_less_gets_smaller_chunks(tmp_path: Path) -> None:
    small, large = (onnx_folder.write(tmp_path / str(most), max_tokens=most) for most in (12, 100))
    assert {len(text.split()) for text in chunks(f"onnx:{small}")} == {5}
    assert {len(text.split()) for text in chunks(f"onnx:{large}")} == {60, 40}
    assert len(chunks("minilm")) == 1


def test_an_endpoint_whose_tokens_are_not_known_gets_chunks_as_our_model_does() -> None:
    assert chunks("openai:https://host/v1") == chunks("minilm")
