"""The dashboard in a browser, on a coordinator and a worker of this process: what operators and tenants see, and what they do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.keys import Keys

import doctrain
from doctrain.v1 import training_pb2
from testkit.chromium import Browser
from testkit.dashboard import SHOWN, Look, Mesh, dashboard_mesh, looking, trained
from testkit.indexing import train

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("dashboard")]

MARKUP = "<img src=x onerror=alert(1)>"
CONTRAST = """
const channel = (value) => { value /= 255; return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4; };
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
const ground = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const found = parts(getComputedStyle(at).backgroundColor);
    if (found.length < 4 || found[3] > 0) return found;
  }
  return [255, 255, 255];
};
return [...document.querySelectorAll("body *")].filter((element) =>
  element.checkVisibility() && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())
).map((element) => {
  const [a, b] = [light(parts(getComputedStyle(element).color)), light(ground(element))];
  return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), element.outerHTML.slice(0, 100)];
}).filter(([ratio]) => ratio < 4.5);
"""


@pytest.fixture
async def mesh(postgres: str, tmp_path: Path) -> AsyncIterator[Mesh]:
    async with dashboard_mesh(postgres, tmp_path) as running:
        yield running


@pytest.fixture
async def look(mesh: Mesh, chromium: Chrome) -> AsyncIterator[Look]:
    async with looking(mesh.served, chromium) as run:
        yield run


async def start(client: doctrain.AsyncClient, name: str, documents: dict[str, str]) -> None:
    inputs = [training_pb2.DocumentInput(document_id=one, content=text.encode()) for one, text in documents.items()]
    await client.start_training(inputs, training_task_id=name)


async def test_an_operator_sees_a_training_come_and_go_to_its_end_without_a_reload(mesh: Mesh, look: Look) -> None:
    gate = mesh.indexer.gates["held.txt"] = asyncio.Event()

    def sign_in(page: Browser) -> None:
        page.sign_in(mesh.operator_key)
        page.shows("Fleet", "Operator", "Every training has ended.", "connected")
        page.driver.execute_script("window.loadedOnce = true")

    def running(page: Browser) -> None:
        page.shows("t-live", "acme", "1 of 2", "Documents open")
        page.press("t-live")
        page.shows("Training t-live", "processing", "1 of 2", "held.txt", "What holds it")

    def ended(page: Browser) -> None:
        page.shows("completed", "2 of 2", "Ended")
        page.until(lambda: "processing" not in page.texts("#documents summary")[1], "both documents have ended")
        page.press("Fleet")
        page.shows("Every training has ended.")
        page.until(lambda: page.driver.execute_script("return document.querySelector('polyline')?.points.length > 1"), "a line")
        assert page.driver.execute_script("return window.loadedOnce")

    await look(sign_in)
    await start(mesh.acme, "t-live", {"free.txt": "Goes through.", "held.txt": "Waits."})
    await look(running)
    gate.set()
    await look(ended)


async def test_an_operator_pauses_resumes_cancels_and_retries(mesh: Mesh, look: Look) -> None:
    mesh.indexer.gates["held.txt"] = asyncio.Event()
    await start(mesh.acme, "t-held", {"held.txt": "Waits."})

    def steer(page: Browser) -> None:
        page.sign_in(mesh.operator_key)
        page.go("training?tenant=acme&id=t-held")
        page.press("Pause")
        page.press("Resume")
        page.shows("Pause")
        page.press("Cancel …")
        page.press("Cancel the training")
        page.shows("cancelled", "The training was cancelled.")
        page.press("Retry what failed …")
        page.press("Start it")
        page.shows("Retry of", "t-held")

    await look(steer)


async def test_an_operator_makes_plans_tenants_and_keys_and_revokes_them(mesh: Mesh, look: Look) -> None:
    def administer(page: Browser) -> None:
        page.sign_in(mesh.operator_key)
        page.press("Tenants and plans")
        page.press("Make a plan …")
        page.element("dialog [name=name]").send_keys("small")
        page.element("dialog [name=slots]").send_keys("0", Keys.ENTER)
        page.shows("A plan allows 1 to 10,000 documents at once.")
        page.element("dialog [name=slots]").send_keys(Keys.BACKSPACE, "3", Keys.ENTER)
        page.shows("The plan was made.", "small")
        page.press("Make a tenant …")
        page.element("dialog [name=tenant_id]").send_keys("new-one", Keys.ENTER)
        page.shows("The tenant was made.", "new-one")
        page.press("Keys")
        page.press("Make a key …")
        page.element("dialog [name=tenant_id]").send_keys("new-one")
        page.press("Make it")
        page.shows("it is shown this once")
        made = page.element("#shown-once").text
        assert made.startswith("dt_tenant_")
        page.press("I have kept it")
        page.until(lambda: made not in page.text, "the key is shown no more")
        number = max(int(row) for row in page.texts("tbody th"))
        page.press(f"Revoke key {number}")
        page.press("Revoke it")
        page.shows(f"Key {number} is out of force.")
        page.press("Dead letters")
        page.shows("No dead letters.")

    await look(administer)


async def test_a_plan_that_is_changed_on_two_sides_has_what_both_chose(mesh: Mesh, look: Look) -> None:
    def begin(page: Browser) -> None:
        page.sign_in(mesh.operator_key)
        page.press("Tenants and plans")
        page.press("Change team")
        page.element("dialog [name=slots]").clear()
        page.element("dialog [name=slots]").send_keys("6")

    def end(page: Browser) -> None:
        page.element("dialog [name=open_documents]").send_keys("50", Keys.ENTER)
        page.shows("The plan was changed.")

    async with doctrain.AsyncClient([mesh.served.running[0].address], api_key=mesh.operator_key) as operator:
        await operator.fleet.put_plan("team", slots=5)
        await look(begin)
        await operator.fleet.update_plan("team", watches=7)
        await look(end)
        (team,) = [plan for plan in await operator.fleet.list_plans() if plan.name == "team"]
    assert (team.slots, team.burst_slots, team.open_documents, team.watches) == (6, 6, 50, 7)


async def test_an_operator_sees_what_plans_allow_and_why_and_orders_otherwise(mesh: Mesh, look: Look) -> None:
    async with doctrain.AsyncClient([mesh.served.running[0].address], api_key=mesh.operator_key) as operator:
        await operator.fleet.put_plan("team", slots=5, burst_slots=20)
    database = await mesh.served.database()

    def steer(page: Browser) -> None:
        page.sign_in(mesh.operator_key)
        page.press("Concurrency")
        page.shows("Guaranteed", "team", "Nothing was decided yet.", "No orders.")
        page.press("Order for plan team")
        page.element("dialog [name=slots]").send_keys("0", Keys.ENTER)
        page.shows("An order is for 1 to 10,000 documents at once")
        page.element("dialog [name=slots]").send_keys(Keys.BACKSPACE, "3")
        page.element("dialog [name=reason]").send_keys(MARKUP, Keys.ENTER)
        page.shows("The order stands.", "capped at 3", MARKUP)
        page.press("Order for a tenant …")
        page.element("dialog [name=tenant_id]").send_keys("acme")
        page.element("dialog [name=kind]").send_keys("exactly")
        page.element("dialog [name=slots]").send_keys("7", Keys.ENTER)
        page.shows("pinned to 7")
        page.press("Clear tenant acme")
        page.shows("The order is cleared.", "No orders.")
        page.press("Clear plan team")
        page.until(lambda: "capped at" not in page.text, "the order is gone")

    def decided(page: Browser) -> None:
        page.shows("5", "8", "Work waits.")

    await look(steer)
    await database.execute("update plan set allowed = 8 where name = 'team'")
    await database.execute(
        "insert into concurrency_decision (plan, slots_before, slots_after, reason) values ('team', 5, 8, 'Work waits.')"
    )
    await look(decided)


async def test_a_tenant_sees_its_own_alone_and_is_offered_nothing_of_operators(mesh: Mesh, look: Look) -> None:
    await start(mesh.acme, "of-acme", {"secret.txt": "Only for acme."})
    await mesh.acme.wait("of-acme")

    def peek(page: Browser) -> None:
        page.sign_in(mesh.zebra_key)
        page.shows("Trainings", "No trainings.")
        assert page.texts("nav a") == ["Trainings", "Search", "Limits", "Usage"]
        for view in ("fleet", "keys", "tenants", "concurrency", "audit", "dead-letters"):
            page.go(view)
            page.until(lambda: page.driver.current_url.endswith("#/trainings"), "sent to what there is")
        for view in ("training?id=of-acme", "training?tenant=acme&id=of-acme"):
            page.go(view)
            page.shows("There is no training 'of-acme'.")
            assert "secret" not in page.text
        page.press("Search")
        page.shows("The index is empty.")
        page.press("Sign out")
        page.shows("Sign in", "API key")
        assert page.driver.execute_script("return sessionStorage.length") == 0
        assert page.driver.get_cookies() == []

    await look(peek)


async def test_a_tenant_watches_and_searches_and_what_documents_say_is_text(mesh: Mesh, look: Look) -> None:
    documents = {MARKUP: f"Coral polyps build limestone. {MARKUP} <script>alert(2)</script>", "b.txt": "Bread is baked."}
    ended = await train(mesh.acme, documents, metadata={MARKUP: "<b>bold</b>"})

    def read(page: Browser) -> None:
        page.sign_in(mesh.acme_key)
        page.press(ended.training_task_id)
        page.shows("completed", "2 of 2", MARKUP)
        page.element("#documents summary").click()
        page.shows("<b>bold</b>")
        assert page.texts("#documents details[open] h3") == ["Metadata"]
        page.press("Search")
        page.shows("of 2 documents")
        page.element("#query").send_keys("coral limestone", Keys.ENTER)
        page.shows("the best first", MARKUP, "<script>alert(2)</script>")
        assert "limestone" in page.texts("#hits mark")
        assert page.texts("main img") == page.texts("main script") == page.texts("main b") == []

    await look(read)


async def test_keys_that_open_nothing_are_told_so_and_a_revoked_one_signs_out(mesh: Mesh, look: Look) -> None:
    worker_key = await mesh.served.key(2)
    operator = await mesh.served.client(mesh.operator_key)

    def refused(page: Browser) -> None:
        page.go()
        page.element("#key").send_keys("dt_tenant_wrong", Keys.ENTER)
        page.shows("The API key is not known or was revoked.")
        page.element("#key").send_keys(worker_key, Keys.ENTER)
        page.shows("This is a key of role worker; sign in with a tenant's or an operator's.")
        page.sign_in(mesh.acme_key)
        page.shows("Trainings")

    def sent_out(page: Browser) -> None:
        page.shows("Sign in", "The API key is not known or was revoked.")
        assert "Sign out" not in page.text

    await look(refused)
    async for key in operator.fleet.list_keys(tenant_id="acme"):
        await operator.fleet.revoke_key(key.key_id)
    await look(sent_out)


async def test_all_is_done_with_the_keyboard_alone_and_the_focus_is_seen(mesh: Mesh, look: Look) -> None:
    mesh.indexer.gates["held.txt"] = asyncio.Event()
    await start(mesh.acme, "t-held", {"held.txt": "Waits."})

    def tab_to(page: Browser, name: str) -> None:
        for _ in range(60):
            if page.focused == name:
                break
            page.type(Keys.TAB)
        assert page.focused == name
        outline = page.driver.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"

    def walk(page: Browser) -> None:
        page.go()
        page.until(lambda: page.focused == "API key", "the field has the focus")
        page.type(mesh.acme_key, Keys.ENTER)
        page.until(lambda: page.focused == "Trainings", "the heading has the focus")
        page.shows("t-held")
        page.driver.refresh()
        page.shows("t-held")
        tab_to(page, "Skip to the content")
        page.type(Keys.ENTER)
        tab_to(page, "t-held")
        page.type(Keys.ENTER)
        page.shows("Training t-held", "Cancel …")
        tab_to(page, "Cancel …")
        page.type(Keys.ENTER)
        page.until(lambda: page.focused == "Not now", "the dialog has the focus")
        page.type(Keys.ESCAPE)
        page.until(lambda: page.focused == "Cancel …", "the focus is back")
        page.type(Keys.ENTER)
        page.until(lambda: page.focused == "Not now", "the dialog has the focus")
        tab_to(page, "Cancel the training")
        page.type(Keys.ENTER)
        page.shows("cancelled")

    await look(walk)


async def test_it_is_legible_in_the_light_in_the_dark_and_on_a_small_screen(mesh: Mesh, look: Look) -> None:
    await trained(mesh)

    def views(page: Browser) -> None:
        grounds = set()
        for role, key in (("operator", mesh.operator_key), ("tenant", mesh.acme_key)):
            page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
            page.sign_in(key)
            for scheme in ("light", "dark"):
                page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
                grounds.add(page.driver.execute_script("return getComputedStyle(document.body).backgroundColor"))
                for view, shown in SHOWN[role].items():
                    page.go(view)
                    page.shows(shown)
                    assert page.driver.execute_script(CONTRAST) == [], (scheme, view)
                    assert len(page.texts("h1")) == 1
            screen = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
            page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
            for view, shown in SHOWN[role].items():
                page.go(view)
                page.shows(shown)
                assert page.driver.execute_script("return document.documentElement.scrollWidth") <= 360, view
            page.press("Sign out")
            page.shows("API key")
        assert len(grounds) == 2

    await look(views)
