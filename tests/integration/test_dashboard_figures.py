"""What the dashboard says of one training, its documents and the workers, word for word and figure for figure."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome

import doctrain
from doctrain.v1 import training_pb2, training_pb2_grpc
from doctrain_mesh.registry import membership
from doctrain_worker.pipeline.processor import StageTiming
from testkit.chromium import Browser
from testkit.dashboard import Look, Mesh, dashboard_mesh, looking

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("dashboard")]

TRACE = "0af7651916cd43dd8448eb211c80319c"
NOWHERE = f"blob://{'0' * 64}"
STAGES = [
    StageTiming("fetch", 0.0, 0.25, {"bytes": 1_200_000}),
    StageTiming("ocr", 0.0, 12.5, {"pages_kept": 2, "pages": 31}),
]


@pytest.fixture
async def mesh(postgres: str, tmp_path: Path) -> AsyncIterator[Mesh]:
    async with dashboard_mesh(postgres, tmp_path) as running:
        yield running


@pytest.fixture
async def look(mesh: Mesh, chromium: Chrome) -> AsyncIterator[Look]:
    async with looking(mesh.served, chromium) as run:
        yield run


async def start_traced(mesh: Mesh, *documents: training_pb2.DocumentInput) -> None:
    """Starts the training ``t`` of acme's with its caller's trace."""
    stub: Any = training_pb2_grpc.TrainingServiceStub(await mesh.served.channel())
    request = training_pb2.StartTrainingRequest(training_task_id="t", documents=documents)
    told = ("traceparent", f"00-{TRACE}-b7ad6b7169203331-01")
    await stub.StartTraining(request, metadata=(("authorization", f"Bearer {mesh.acme_key}"), told))


async def test_an_ended_document_shows_its_stages_a_failed_one_its_error_and_both_their_trace(mesh: Mesh, look: Look) -> None:
    mesh.indexer.stages["scan.pdf"] = STAGES
    scan = training_pb2.DocumentInput(document_id="scan.pdf", content=b"A scan.")
    await start_traced(mesh, scan, training_pb2.DocumentInput(document_id="gone.pdf", uri=NOWHERE))
    assert (await mesh.acme.wait("t")).failed == 1
    (gone,) = [one async for one in mesh.acme.list_documents("t", states=["failed"])]

    def unfolded(page: Browser, name: str) -> list[str]:
        """Unfolds the one document that has this state; what it says then, by line."""
        page.element("#document-state").send_keys(name)
        page.until(lambda: len(page.texts("#documents summary")) == 1 and page.texts("#documents summary")[0].startswith(name), name)
        page.element("#documents summary").click()
        page.until(lambda: bool(page.texts("#documents details[open]")), "it is unfolded")
        return page.texts("#documents details[open]")[0].split("\n")

    def see(page: Browser) -> None:
        page.sign_in(mesh.acme_key)
        page.go("training?id=t")
        page.shows("completed with failures", TRACE)
        done = unfolded(page, "completed")
        assert done[done.index("Stages") + 1 :] == [
            "Stage Began Took Did",
            "fetch +0.00 s 0.25 s 1,200,000 bytes",
            "ocr +0.00 s 12.50 s 31 pages, 2 pages kept",
        ]
        assert done[done.index("Trace") + 1] == TRACE
        failed = unfolded(page, "failed")
        assert failed[0].startswith("failed gone.pdf ")
        assert failed[0].endswith(f" {gone.error.code}: {gone.error.message}")
        assert gone.error.message
        assert failed[failed.index("Where its bytes are") + 1] == NOWHERE
        assert failed[failed.index("Trace") + 1] == TRACE
        assert "Stages" not in failed

    await look(see)


async def test_what_holds_a_training_is_said_with_what_to_do_and_who_is_ahead(mesh: Mesh, look: Look) -> None:
    async with doctrain.AsyncClient([mesh.served.running[0].address], api_key=mesh.operator_key) as operator:
        await operator.fleet.put_plan("one", slots=1)
        await operator.fleet.update_tenant("acme", plan="one")
    mesh.indexer.gates["ahead.txt"] = asyncio.Event()
    for name in ("ahead", "held"):
        document = training_pb2.DocumentInput(document_id=f"{name}.txt", content=b"Waits.")
        await mesh.acme.start_training([document], training_task_id=name)

    def see(page: Browser) -> None:
        page.sign_in(mesh.acme_key)
        page.go("training?id=held")
        sentence = "The plan allows 1 document at a time, which is in use by the tenant's other trainings."
        page.shows("queued", sentence, "Wait, pause or cancel another training, or ask for a larger plan.", "ahead uses 1")
        assert page.element("#why").text == sentence
        page.press("Pause")
        page.shows("paused", "The training is paused.", "Resume it.")
        page.go("training?id=ahead")
        page.shows("processing", "Nothing holds it back.")

    await look(see)


async def test_a_workers_load_is_seen_in_figures(mesh: Mesh, look: Look) -> None:
    async with doctrain.AsyncClient([mesh.served.running[0].address], api_key=mesh.operator_key) as operator:
        (worker,) = (await operator.fleet.list_workers()).workers
    load = {
        "session": worker.session_id,
        "cpu": 0.34,
        "memory_bytes": 785_200_000,
        "memory_share": 0.1,
        "disk_free_share": 0.283,
        "loop_lag_seconds": 0.25,
        "documents_per_second": 3.14,
        "failure_share": 0.5,
    }
    registration = await mesh.served.registry.register(f"{membership.WORKERS}worker-1", json.dumps(load).encode(), 60)

    def figures(page: Browser) -> list[str]:
        names = page.texts("[aria-label=Workers] thead th")
        cells = page.texts("[aria-label=Workers] tbody tr > *")
        shown = dict(zip(names, cells, strict=True))
        return [
            shown[name]
            for name in ("Lanes", "Slots", "CPU", "Memory", "In use", "Disk free", "Lag", "Docs/s (1 min)", "Failing", "Version")
        ]

    def see(page: Browser) -> None:
        page.sign_in(mesh.operator_key)
        page.shows("worker-1", "785.2 MB")
        assert figures(page) == ["0 of 2", "0", "34 %", "785.2 MB", "10 %", "28 %", "0.3 s", "3.1", "50 %", "1"]

    def unknown(page: Browser) -> None:
        page.shows("not in the registry")
        assert figures(page) == ["0 of 2", "0", "?", "?", "?", "?", "?", "?", "?", "1"]

    await look(see)
    await registration.close()
    await look(unknown)
