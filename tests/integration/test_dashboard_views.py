"""What the command line does, done in a browser: workers, tenants, plans, keys, usage, the audit log, and what a tenant may."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

import doctrain
from doctrain.v1 import fleet_pb2, training_pb2
from doctrain_coordinator.tracking import health
from doctrain_mesh.registry import membership
from doctrain_worker.pipeline.processor import StageTiming
from testkit.chromium import Browser
from testkit.dashboard import Look, Mesh, dashboard_mesh, looking
from testkit.indexing import train
from testkit.subscriptions import subscribed, unsubscribe
from testkit.waiting import wait_until

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("dashboard")]

MARKUP = "<b>bold</b>"


@pytest.fixture
async def mesh(postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Mesh]:
    monkeypatch.setattr(health, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr("doctrain_worker.shards.reports.LONG_SECONDS", 0.3)
    well = {"health_ill_seconds": 0.2, "health_loop_lag_seconds": 60.0}
    async with dashboard_mesh(postgres, tmp_path, beat_seconds=0.1, lease_seconds=10.0, **well) as running:
        yield running


@pytest.fixture
async def look(mesh: Mesh, chromium: Chrome) -> AsyncIterator[Look]:
    async with looking(mesh.served, chromium) as run:
        yield run


@pytest.fixture
async def operator(mesh: Mesh) -> doctrain.AsyncClient:
    return await mesh.served.client(mesh.operator_key)


def fill(page: Browser, **fields: str) -> None:
    """Types into fields of the dialog, in the place of what is there."""
    for name, text in fields.items():
        field = page.element(f"dialog [name={name}]")
        field.clear()
        field.send_keys(text)


async def test_an_operator_takes_a_worker_out_of_work_and_back(mesh: Mesh, look: Look, operator: doctrain.AsyncClient) -> None:
    def steer(page: Browser) -> None:
        page.sign_in(mesh.operator_key)
        page.shows("worker-1", "connected")
        page.press("Cordon worker-1")
        page.shows("No other worker takes new work")
        fill(page, reason=MARKUP)
        page.press("Cordon it")
        page.shows("worker-1 takes no new work", "cordoned", MARKUP, "Kept from new work", "0 ready at the broker")
        page.until(lambda: page.focused == "Uncordon worker-1", "the focus stays where it was")
        page.press("Drain worker-1")
        fill(page, within="-1")
        page.press("Drain it")
        page.shows("A drain may take from 0 seconds to a day.")
        fill(page, within="30")
        page.press("Drain it")
        page.shows("drained")
        page.press("Uncordon worker-1")
        page.press("Uncordon it")
        page.until(lambda: "connected" in page.texts("tbody td")[0], "it is at work")

    await look(steer)
    (worker,) = (await operator.fleet.list_workers()).workers
    assert worker.health == fleet_pb2.WORKER_HEALTH_FIT


async def test_a_worker_that_is_not_well_is_seen_with_the_alarm(mesh: Mesh, look: Look, operator: doctrain.AsyncClient) -> None:
    (worker,) = (await operator.fleet.list_workers()).workers
    record = json.dumps({"session": worker.session_id, "memory_share": 1.0}).encode()
    await mesh.served.registry.register(membership.WORKERS + worker.worker_id, record, 60)

    def see(page: Browser) -> None:
        page.sign_in(mesh.operator_key)
        page.shows("unfit, at work all the same", "100% of its memory is in use")
        page.until(lambda: "works all the same" in page.element("#alarm").text, "the alarm")

    await look(see)


async def test_work_that_no_worker_takes_is_seen_with_the_alarm(mesh: Mesh, look: Look, operator: doctrain.AsyncClient) -> None:
    await operator.fleet.cordon_worker("worker-1", reason="A new disk")

    def nothing_waits(page: Browser) -> None:
        page.sign_in(mesh.operator_key)
        page.shows("cordoned", "nothing waits")
        assert not page.texts("#intake-alarm")

    def work_waits(page: Browser) -> None:
        page.until(lambda: "1 cordoned" in page.element("#intake-alarm").text, "the alarm")

    def work_ends(page: Browser) -> None:
        page.until(lambda: not page.texts("#intake-alarm"), "no alarm")

    await look(nothing_waits)
    await mesh.acme.start_training([training_pb2.DocumentInput(document_id="a.txt", content=b"Waits.")])
    await look(work_waits)
    await operator.fleet.uncordon_worker("worker-1")
    await look(work_ends)


async def test_what_is_paused_is_told_apart_from_what_waits(mesh: Mesh, look: Look, operator: doctrain.AsyncClient) -> None:
    await operator.fleet.cordon_worker("worker-1")
    await mesh.acme.start_training([training_pb2.DocumentInput(document_id="a.txt", content=b"Waits.")], training_task_id="t")
    await mesh.acme.pause("t")

    def see(page: Browser) -> None:
        page.sign_in(mesh.operator_key)
        page.shows("of which 1 paused", "none may start yet")
        assert not page.texts("#intake-alarm")

    await look(see)


async def test_a_worker_that_is_cut_off_from_rabbitmq_is_seen(mesh: Mesh, look: Look) -> None:
    (consumer,) = await wait_until(lambda: subscribed(mesh.served.broker))
    unsubscribe(consumer)

    def see(page: Browser) -> None:
        page.sign_in(mesh.operator_key)
        page.shows("cut off", "Its connection to RabbitMQ is lost.")

    await look(see)


async def test_an_operator_suspends_resumes_and_deletes_a_tenant(mesh: Mesh, look: Look) -> None:
    def of_zebra(page: Browser) -> str:
        return next((row for row in page.texts("tbody tr") if row.startswith("zebra")), "")

    def steer(page: Browser) -> None:
        page.sign_in(mesh.operator_key)
        page.press("Tenants and plans")
        page.press("Suspend zebra")
        fill(page, reason="Unpaid")
        page.press("Suspend it")
        page.until(lambda: "suspended: Unpaid" in of_zebra(page), "suspended")
        page.press("Resume zebra")
        page.press("Resume it")
        page.until(lambda: "active" in of_zebra(page), "active")
        page.press("Audit log of zebra")
        page.shows("ResumeTenant", "SuspendTenant", "Unpaid", "operator (key")
        page.press("Tenants and plans")
        page.press("Delete zebra")
        fill(page, confirm="zebr")
        page.press("Delete it for good")
        page.shows("The name typed is not zebra; nothing was deleted.")
        fill(page, confirm="zebra")
        page.press("Delete it for good")
        page.shows("zebra is being deleted.")
        page.until(lambda: not of_zebra(page), "it is gone")

    await look(steer)


async def test_a_plan_that_is_changed_keeps_its_other_limits(mesh: Mesh, look: Look, operator: doctrain.AsyncClient) -> None:
    def steer(page: Browser) -> None:
        page.sign_in(mesh.operator_key)
        page.press("Tenants and plans")
        page.press("Make a plan …")
        fill(page, name="team", slots="3", training_documents="100", requests_per_second="2.5", upload_bytes="50000000")
        page.press("Make it")
        page.shows("The plan was made.", "50.0 MB", "2.5")
        page.press("Change team")
        fill(page, slots="7")
        page.press("Change it")
        page.shows("The plan was changed.")
        page.press("Dead letters")
        page.shows("No dead letters.")
        assert "The plan was changed." not in page.text
        page.press("Tenants and plans")
        page.press("Delete the plan paid")
        page.press("Delete it")
        page.shows("acme")
        page.press("Not now")

    await look(steer)
    (team,) = [plan for plan in await operator.fleet.list_plans() if plan.name == "team"]
    assert (team.slots, team.open_trainings, team.training_documents, team.open_documents) == (7, 1_000, 100, 0)
    assert (team.requests_per_second, team.upload_bytes) == (2.5, 50_000_000)


async def test_a_key_that_expired_is_not_shown_as_in_force(mesh: Mesh, look: Look, operator: doctrain.AsyncClient) -> None:
    made = await operator.fleet.create_key("tenant", tenant_id="acme", lifetime=timedelta(seconds=1))

    def make(page: Browser) -> None:
        page.sign_in(mesh.operator_key)
        page.press("Keys")
        page.press("Make a key …")
        fill(page, days="30")
        page.element("dialog [name=role]").send_keys("worker")
        page.press("Make it")
        page.shows("shown this once", "It expires")
        page.press("I have kept it")
        page.until(lambda: any(row.startswith(f"{made.key_id} expired") for row in page.texts("tbody tr")), "it expired")
        page.until(lambda: any(row.startswith(f"{made.key_id + 1} in force") for row in page.texts("tbody tr")), "the new one")

    await look(make)


async def test_use_is_seen_by_day_and_by_tenant_and_what_is_left_of_the_plan(mesh: Mesh, look: Look) -> None:
    await train(mesh.acme, {"a.txt": "Herons on the river.", "b.txt": "Bread is baked."})
    yesterday = datetime.now(UTC).date() - timedelta(days=1)  # the test may run at midnight

    async def counted() -> bool:
        return sum(day.trained for day in await mesh.acme.get_usage(first_day=yesterday)) == 2

    await wait_until(counted, 30)

    def of_operator(page: Browser) -> None:
        page.sign_in(mesh.operator_key)
        page.press("Usage")
        page.until(lambda: "acme 2 0 0" in page.text and "zebra 0 0 0" in page.text, "the sums")
        page.press("acme")
        page.until(lambda: "#/usage?tenant=acme" in page.driver.current_url and bool(page.texts("tbody tr")), "its days")
        page.press("Sign out")

    def of_tenant(page: Browser) -> None:
        page.sign_in(mesh.acme_key)
        page.press("Usage")
        page.until(lambda: any(" 2 0 0" in row for row in page.texts("tbody tr")), "its own")
        page.press("Limits")
        page.shows("The plan is paid", "0 of 30", "35 bytes of any number", "Documents of one start without a manifest 10,000")

    await look(of_operator)
    await look(of_tenant)


async def test_a_long_document_shows_its_stage_and_what_of_it_is_done(mesh: Mesh, look: Look) -> None:
    mesh.indexer.gates["long.txt"] = asyncio.Event()
    mesh.indexer.stages["long.txt"] = [StageTiming("embed", time.time(), 1.0, {"chunks": 1_200, "chunks_in_all": 5_000})]
    await mesh.acme.start_training([training_pb2.DocumentInput(document_id="long.txt", content=b"Long.")], training_task_id="t")

    def see(page: Browser) -> None:
        page.sign_in(mesh.acme_key)
        page.press("t")
        page.shows("Under way for some seconds", "long.txt embed, 1,200 of 5,000 chunks", "this training holds 1", "Running")

    await look(see)
    mesh.indexer.gates["long.txt"].set()
