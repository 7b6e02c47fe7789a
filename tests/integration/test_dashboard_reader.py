"""What a screen reader has of the dashboard: Chromium's own tree of names, roles and live regions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.keys import Keys

from testkit.chromium import Browser
from testkit.dashboard import SHOWN, Look, Mesh, dashboard_mesh, looking, trained

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("dashboard")]

NAMED = {"navigation", "region", "dialog", "image", "progressbar", "meter", "columnheader", "rowheader"}
"""Roles that say nothing without a name, beside all that has the focus at times."""
DIALOGS = {
    "fleet": "Drain worker-1",
    "concurrency": "Order for a tenant …",
    "tenants": "Make a plan …",
    "keys": "Make a key …",
}


@dataclass
class Node:
    """What is told of one thing on the page."""

    role: str
    name: str
    properties: dict[str, Any]
    children: list[str]


def tree(page: Browser) -> dict[str, Node]:
    """All that is told, by Chromium's numbers."""
    found = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    return {
        one["nodeId"]: Node(
            one["role"]["value"],
            one.get("name", {}).get("value", "").strip(),
            {said["name"]: said["value"].get("value") for said in one.get("properties", ())},
            one.get("childIds", []),
        )
        for one in found
        if not one["ignored"]
    }


def faults(page: Browser) -> list[str]:
    """What of the view a screen reader could not tell."""
    nodes = tree(page)
    roles = [node.role for node in nodes.values()]
    told = [f"{roles.count(role)} of {role}" for role in ("banner", "main", "navigation") if roles.count(role) != 1]
    for node in nodes.values():
        control = node.properties.get("focusable") and node.role not in {"RootWebArea", "main"}
        if (control or node.role in NAMED) and not node.name:
            told.append(f"{node.role} without a name")
        if node.role == "row" and not {"columnheader", "rowheader"} & {nodes[child].role for child in node.children if child in nodes}:
            told.append("a row without a header")
    live = {(node.role, node.properties.get("live")) for node in nodes.values()}
    return told + [f"no live {role}" for role, how in (("alert", "assertive"), ("status", "polite")) if (role, how) not in live]


def said(page: Browser, role: str) -> str:
    """What the live regions of that role say."""
    nodes = tree(page)

    def text(number: str) -> str:
        node = nodes.get(number)
        if node is None:
            return ""
        return node.name if node.role == "StaticText" else " ".join(map(text, node.children))

    return " ".join(text(number) for number, node in nodes.items() if node.role == role)


@pytest.fixture
async def mesh(postgres: str, tmp_path: Path) -> AsyncIterator[Mesh]:
    async with dashboard_mesh(postgres, tmp_path) as running:
        yield running


@pytest.fixture
async def look(mesh: Mesh, chromium: Chrome) -> AsyncIterator[Look]:
    async with looking(mesh.served, chromium) as run:
        yield run


@pytest.mark.parametrize("role", SHOWN)
async def test_every_view_has_landmarks_headers_live_regions_and_names_for_all(mesh: Mesh, look: Look, role: str) -> None:
    await trained(mesh)

    def views(page: Browser) -> None:
        page.sign_in({"operator": mesh.operator_key, "tenant": mesh.acme_key}[role])
        for view, shown in SHOWN[role].items():
            page.go(view)
            page.shows(shown)
            assert faults(page) == [], view
            if role == "operator" and view in DIALOGS:
                page.press(DIALOGS[view])
                page.until(lambda: "dialog" in {node.role for node in tree(page).values()}, "a dialog is told")
                unnamed = [node.role for node in tree(page).values() if node.properties.get("focusable") and not node.name]
                assert set(unnamed) <= {"main"}, view
                page.type(Keys.ESCAPE)
                page.until(lambda: not page.texts("dialog"), "the dialog is gone")

    await look(views)


async def test_what_happens_is_told_where_it_is_read_out(mesh: Mesh, look: Look) -> None:
    def act(page: Browser) -> None:
        page.go()
        page.element("#key").send_keys("dt_tenant_wrong", Keys.ENTER)
        page.until(lambda: "The API key is not known" in said(page, "alert"), "the refusal is an alert")
        page.driver.refresh()
        page.sign_in(mesh.operator_key)
        page.press("Cordon worker-1")
        page.press("Cordon it")
        page.until(lambda: "worker-1 takes no new work" in said(page, "status"), "the deed is a status")
        page.press("Tenants and plans")
        page.press("Make a plan …")
        page.element("dialog [name=name]").send_keys("small")
        page.element("dialog [name=slots]").send_keys("0", Keys.ENTER)
        page.until(lambda: "A plan allows 1 to 10,000 documents at once." in said(page, "alert"), "the fault is an alert")

    await look(act)
