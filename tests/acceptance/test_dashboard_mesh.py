"""The dashboard over a real mesh: an operator looks at it while a training runs, and the coordinator that serves it is restarted."""

from __future__ import annotations

import asyncio
import re

import pytest
from selenium.webdriver import Chrome

from doctrain.v1 import training_pb2
from testkit.chromium import Browser, tab
from testkit.mesh import Mesh, Part
from testkit.tenants import PROCESSOR, tenant

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("meshes at work")]


def url(coordinator: Part) -> str:
    found = re.search(r"The dashboard is on (\S+)", coordinator.log.read_text())
    assert found
    return found[1]


async def test_it_shows_a_fleet_at_work_and_outlives_the_restart_of_its_coordinator(real_mesh: Mesh, chromium: Chrome) -> None:
    serving = await real_mesh.coordinator("coordinator-1", DOCTRAIN_DASHBOARD_LISTEN="127.0.0.1:0", **PROCESSOR)
    await real_mesh.coordinator("coordinator-2", **PROCESSOR)
    for name in ("worker-1", "worker-2"):
        await real_mesh.worker(name, **PROCESSOR)
    address = url(serving)
    numbered = training_pb2.NumberedDocuments(uri_template="s3://test/300/{n}", count=1000)

    def begin(page: Browser) -> None:
        page.sign_in(real_mesh.operator_key)
        page.shows("worker-1", "worker-2")
        page.press("Trainings")
        page.press("t-long")
        page.shows("processing")
        page.driver.execute_script("window.loadedOnce = true")

    def away(page: Browser) -> None:
        page.shows("It is")  # asked, or opened, again

    def go_on(page: Browser) -> None:
        page.until(lambda: not page.element("#trouble").text, "it is well again")
        page.shows("completed", "1,000 of 1,000")
        assert page.driver.execute_script("return window.loadedOnce")

    client = await tenant(real_mesh, "acme", "paid")
    async with client:
        await client.start_training(numbered=numbered, training_task_id="t-long")
        with tab(chromium, address) as page:
            await asyncio.to_thread(begin, page)
            assert await serving.stop() == 0
            await asyncio.to_thread(away, page)
            listen = address.removeprefix("http://").rstrip("/")
            await real_mesh.coordinator("coordinator-1", DOCTRAIN_DASHBOARD_LISTEN=listen, **PROCESSOR)
            await asyncio.to_thread(go_on, page)
