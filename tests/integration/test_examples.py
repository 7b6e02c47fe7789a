"""The examples of the documentation are Python, and that of the README runs as it stands there."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from doctrain.v1 import training_pb2 as pb
from testkit.scripted_service import ScriptedService, serving

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "docs/howto/train-documents.md"]


def examples(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_examples_are_python(page: str) -> None:
    assert examples(page)
    for example in examples(page):
        compile(example, page, "exec")


async def test_the_example_of_the_readme_runs_as_pasted(tmp_path: Path) -> None:
    (example,) = examples("README.md")
    service = ScriptedService()

    async def watch(request: pb.WatchStatusRequest, context: object) -> AsyncIterator[pb.WatchStatusResponse]:
        training = pb.Training(training_task_id=request.training_task_id, state=pb.TRAINING_STATE_COMPLETED, version=1)
        training.message = "Completed 1 document."
        yield pb.WatchStatusResponse(training=training, resume_position="1")

    service.watch = watch
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/a.txt").write_text("a")
    async with serving(service) as now:
        (tmp_path / "doctrain-data").mkdir()
        profile = {"address": now.address, "tenant_key": "a-tenants", "operator_key": "an-operators"}
        (tmp_path / "doctrain-data/client.json").write_text(json.dumps(profile))
        (tmp_path / "pasted.py").write_text(example)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "pasted.py", cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        said, error = await process.communicate()
    assert (process.returncode, said.decode()) == (0, "Completed 1 document.\n"), error.decode()
    assert service.keys == {"Bearer a-tenants"}
    assert [document.document_id for document in service.asked(pb.StartTrainingRequest)[-1].documents] == ["a.txt"]
