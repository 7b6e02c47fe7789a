"""Takes the pictures of docs/howto/dashboard.md: an embedded mesh at work, looked at with Chromium. Run by `make images`."""

import asyncio
import tempfile
from pathlib import Path

from selenium.webdriver.common.keys import Keys

import doctrain
from doctrain.v1 import training_pb2
from doctrain_mesh import settings as settings_module
from doctrain_server.dev.embedded import TENANT, embedded_mesh
from doctrain_server.dev.spans import Recorder
from testkit.chromium import Browser, running_chromium, tab

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs/images"
TRAINING = "spring-harvest"
COPIES = 40
LOOKS = 12
"""The throughput's line has so many points before it is taken."""
WIDTH, MOST_HEIGHT = 1400, 1300


def documents() -> list[training_pb2.DocumentInput]:
    """The corpus, many times, and one that is broken."""
    files = sorted(file for file in (ROOT / "corpus").iterdir() if file.stat().st_size < 50_000)
    copies = [
        training_pb2.DocumentInput(document_id=f"{file.stem}-{number}{file.suffix}", content=file.read_bytes())
        for number in range(1, COPIES + 1)
        for file in files
    ]
    return [training_pb2.DocumentInput(document_id="torn-page.pdf", content=b"%PDF-1.7 torn"), *copies]


def take(page: Browser, name: str) -> None:
    """Keeps what is seen now, down to the end of the page where that is near."""
    height = min(MOST_HEIGHT, page.driver.execute_script("return document.documentElement.scrollHeight"))
    screen = {"width": WIDTH, "height": height, "deviceScaleFactor": 1, "mobile": False}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    page.driver.save_screenshot(str(IMAGES / f"{name}.png"))
    page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def look(page: Browser, operator_key: str) -> None:
    """Signs in as an operator and takes one picture a page."""
    page.sign_in(operator_key)
    page.press("Cordon worker-2")
    page.element("dialog [name=reason]").send_keys("A new disk")
    page.press("Cordon it")
    page.until(lambda: page.driver.execute_script(f"return document.querySelector('polyline')?.points.length > {LOOKS}"), "a line")
    page.until(lambda: not page.element("#told").text, "what was done is told no more")
    take(page, "dashboard-fleet")
    page.press(TRAINING)
    page.shows("Under way for some seconds", "What holds it")
    take(page, "dashboard-training")
    page.press("Concurrency")
    page.press("Order for a tenant …")
    page.element("dialog [name=tenant_id]").send_keys(TENANT)
    page.element("dialog [name=slots]").send_keys("20")
    page.element("dialog [name=reason]").send_keys("Until the new disk is in", Keys.ENTER)
    page.shows("capped at 20")
    page.until(lambda: not page.element("#told").text, "what was done is told no more")
    take(page, "dashboard-concurrency")


async def main() -> None:
    with Recorder(), tempfile.TemporaryDirectory(prefix="doctrain-images-") as data:
        settings = settings_module.load({}, listen="127.0.0.1:0", dashboard_listen="127.0.0.1:0", trace_documents=1.0)
        async with (
            embedded_mesh(Path(data), settings, workers=2) as mesh,
            doctrain.AsyncClient(mesh.address, api_key=mesh.operator_key) as operator,
            doctrain.AsyncClient(mesh.address, api_key=mesh.tenant_key) as client,
        ):
            await operator.fleet.put_plan("paid", slots=30, burst_slots=60)
            await client.start_training(documents(), training_task_id=TRAINING)
            with running_chromium(Path(data)) as driver, tab(driver, mesh.dashboard) as page:
                await asyncio.to_thread(look, page, mesh.operator_key)


if __name__ == "__main__":
    asyncio.run(main())
