"""What a process loads at its start: nothing heavy that it does not need."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("numpy", "onnxruntime", "tokenizers", "kreuzberg", "pypdfium2", "trafilatura", "lxml", "semantic_text_splitter", "tesserocr")
WEB = ("aiohttp", "httpcore2", "trio")
"""What reads web pages and serves the dashboard, for those who do."""


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("doctrain_server.__main__", (*HEAVY, "asyncpg", "obstore", "psutil")),
        ("doctrain_server.services.guarded", (*HEAVY, "asyncpg", "obstore", "psutil")),
        ("doctrain_server.services.worker", (*HEAVY, *WEB, "doctrain_coordinator", "aio_pika", "aetcd")),
        ("doctrain_server.services.coordinator", (*HEAVY, *WEB, "doctrain_worker", "aio_pika", "aetcd")),
        ("doctrain_coordinator.app", (*HEAVY, *WEB)),
        ("doctrain_worker.sandbox.guardian.__main__", (*HEAVY, "asyncio", "grpc", "msgspec")),
        ("doctrain_worker.pipeline.child.parse", ("numpy", "onnxruntime", "grpc", "asyncio")),
        ("doctrain_worker.pipeline.child.embed", ("onnxruntime", "kreuzberg", "grpc", "asyncio")),
    ],
)
def test_a_process_loads_no_library_that_it_does_not_need(module: str, unwanted: tuple[str, ...]) -> None:
    told = subprocess.run(
        [sys.executable, "-c", f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"], capture_output=True, check=True
    )
    assert not set(unwanted) & set(json.loads(told.stdout))
