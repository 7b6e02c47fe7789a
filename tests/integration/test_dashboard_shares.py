"""The dashboard's connections are shared: one key's calls do not take them all."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from doctrain_coordinator.web import dashboard, gateway
from testkit.coordinator import coordinators
from testkit.waiting import wait_until

START = {"training_task_id": "t", "numbered": {"uri_template": "https://example.com/{n}.txt", "count": 3}}
WATCH = {"training_task_id": "t"}


async def test_the_watches_of_one_key_leave_connections_to_the_others(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard, "MOST_CONNECTIONS", 8)
    monkeypatch.setattr(gateway, "CALLS_OF_KEY", 4)
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(coordinators(postgres, tmp_path, dashboard_listen="127.0.0.1:0"))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        await served.tenant("acme")
        url, tenant, operator = served.running[0].dashboard, await served.key(1, "acme"), await served.key(3)

        async def call(path: str, request: Mapping[str, object], authorization: str) -> aiohttp.ClientResponse:
            headers = {"Authorization": authorization, "Connection": "close"}
            return await http.post(f"{url}api/{path}", json=request, headers=headers)

        assert (await call("TrainingService/StartTraining", START, f"Bearer {tenant}")).status == 200
        watches = [await call("TrainingService/WatchStatus", WATCH, f"Bearer {tenant}") for _ in range(4)]
        for watch in watches:
            await watch.content.readline()
        for authorization in (f"Bearer {tenant}", f"bearer {tenant}", f"BEARER   {tenant}"):
            for path, request in (("TrainingService/WatchStatus", WATCH), ("TrainingService/ListTrainings", {})):
                refused = await call(path, request, authorization)
                assert refused.status == 429
                error = (await refused.json())["error"]
                assert error["code"] == "RESOURCE_EXHAUSTED"
                assert error["message"].startswith("4 calls of this key are under way here; end some of its watches")
                assert {detail["@type"].rpartition(".")[2] for detail in error["details"]} >= {"ErrorInfo", "RetryInfo"}
        assert (await call("FleetService/ListWorkers", {}, f"Bearer {operator}")).status == 200
        async with http.get(url) as page:
            assert page.status == 200

        async def served_again() -> bool:
            return (await call("TrainingService/ListTrainings", {}, f"Bearer {tenant}")).status == 200

        watches.pop().close()
        async with asyncio.timeout(20):
            await wait_until(served_again, what="served again")
        for watch in watches:
            watch.close()


def test_one_key_may_not_take_a_fourth_of_all() -> None:
    assert gateway.CALLS_OF_KEY * 4 < dashboard.MOST_CONNECTIONS
