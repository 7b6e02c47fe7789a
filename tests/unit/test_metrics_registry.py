"""Metrics as they are defined, explained in docs/telemetry.md, shown on dashboards and watched by alerts; and the alerts' run-book."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from doctrain.cli.app import doctrain as client_commands
from doctrain_coordinator import metrics as _coordinator
from doctrain_mesh.observability.metrics import DEFINED, Definition
from doctrain_server.__main__ import cli as server_commands
from doctrain_worker import metrics as _worker
from testkit.promtool import promtool

ROOT = Path(__file__).parents[2]
METRICS = {name: known for name, known in DEFINED.items() if not name.startswith("doctrain.test.")}
RULES: list[dict[str, Any]] = yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())["groups"][0]["rules"]
ALERTS = [rule for rule in RULES if "alert" in rule]
DASHBOARDS = sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))
UNITS = {"s", "By"}
FOREIGN = {
    "up",
    "rabbitmq_alarms_memory_used_watermark",
    "rabbitmq_alarms_free_disk_space_watermark",
    "rabbitmq_detailed_queue_messages_unacked",
}
"""Of Prometheus itself, and of RabbitMQ's plug-in."""
CHAPTERS = {"Concurrency"}
"""Of the run-book, beside those of alerts."""


@cache
def exposed() -> dict[str, set[str]]:
    """The series that Prometheus sees of all that is defined, each with its labels."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    meter = MeterProvider([PrometheusMetricReader(registry=registry, scope_info_enabled=False)], shutdown_on_exit=False).get_meter("test")
    for known in METRICS.values():
        attributes = dict.fromkeys(known.attributes, "x")
        if known.kind == "counter":
            meter.create_counter(known.name, known.unit).add(1, attributes)
        elif known.kind == "up-down counter":
            meter.create_up_down_counter(known.name, known.unit).add(1, attributes)
        elif known.kind == "histogram":
            meter.create_histogram(known.name, known.unit).record(1, attributes)
        else:
            meter.create_observable_gauge(known.name, [partial(_one, attributes)], known.unit)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    found: dict[str, set[str]] = {}
    for sample in (sample for family in families for sample in family.samples):
        found.setdefault(sample.name, set()).update(sample.labels)
    return found


def _one(attributes: dict[str, str], _options: CallbackOptions) -> list[Observation]:
    return [Observation(1, attributes)]


def expressions() -> Iterator[tuple[str, str]]:
    """Every query of rules and dashboards, with where it stands."""
    for rule in RULES:
        yield rule.get("alert", rule.get("record", "")), rule["expr"]
    for file in DASHBOARDS:
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel.get("targets", []):
                yield f"{file.stem}: {panel['title']}", target["expr"]


def row(known: Definition) -> str:
    attributes = ", ".join(f"`{name}`" for name in known.attributes)
    return f"| `{known.name}` | {known.kind} | `{known.unit}` | {attributes} | {known.meaning} |"


def test_names_and_units_follow_the_conventions() -> None:
    for known in METRICS.values():
        assert re.fullmatch(r"doctrain(\.[a-z_]+)+", known.name)
        assert known.unit in UNITS or re.fullmatch(r"\{[a-z]+\}", known.unit), known.name
        assert known.meaning.endswith(".")
        assert all(re.fullmatch(r"(doctrain|rpc)(\.[a-z_]+)+", attribute) for attribute in known.attributes)


def test_the_page_on_telemetry_lists_each_metric_as_it_is_defined_and_none_else() -> None:
    rows = re.findall(
        r"^\| `doctrain\..* \| (?:counter|up-down counter|histogram|gauge) \|.*$", (ROOT / "docs/telemetry.md").read_text(), re.M
    )
    assert sorted(rows) == sorted(map(row, METRICS.values()))


def test_every_definition_is_used() -> None:
    for module in (_coordinator, _worker):
        folder = Path(str(module.__file__)).parent
        code = "".join(file.read_text() for file in folder.rglob("*.py"))
        names = [name for name, found in vars(module).items() if getattr(found, "definition", None)]
        assert names
        assert [name for name in names if f"metrics.{name}" not in code] == []


@pytest.mark.parametrize(("place", "expression"), list(expressions()))
def test_what_is_asked_for_is_measured(place: str, expression: str) -> None:
    known = exposed()
    bare = re.sub(r'"[^"]*"', "", expression)
    named = set(re.findall(r"\b(?:doctrain|process|rabbitmq)_\w+\b|\bup\b", re.sub(r"\{[^}]*\}|\bby \([^)]*\)", "", bare)))
    assert named or "doctrain:" in expression
    assert named - FOREIGN <= known.keys(), place
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    assert set(re.findall(r"doctrain:\w+", expression)) <= recorded
    labels = set(re.findall(r"\b(?:doctrain|rpc)_\w+(?==)", bare))
    labels |= {label.strip() for by in re.findall(r"by \(([^)]*)\)", bare) for label in by.split(",")}
    given = set().union(*(known[name] for name in named & known.keys())) | {"instance", "job"}
    assert labels <= given, place


def test_an_alert_names_its_chapter_which_says_what_it_means_and_what_to_do() -> None:
    chapters = re.split(r"^## ", (ROOT / "docs/operations.md").read_text(), flags=re.MULTILINE)[1:]
    bodies = {chapter.partition("\n")[0]: chapter for chapter in chapters}
    assert ALERTS
    assert bodies.keys() == {alert["alert"] for alert in ALERTS} | CHAPTERS
    for alert in ALERTS:
        name = alert["alert"]
        assert alert["annotations"]["runbook_url"] == f"docs/operations.md#{name.lower()}"
        assert alert["labels"]["severity"] in {"critical", "warning"}
        assert all(f"**{part}**" in bodies[name] for part in ("Means", "Look at")), name
        assert re.search(r"\*\*(Do|do)\*\*", bodies[name]), name


def test_the_run_book_names_commands_and_chapters_that_exist() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    commands = set(re.findall(r"(?<![\w.-])doctrain ([a-z-]+)", page)) & {
        *re.findall(r"`doctrain ([a-z-]+)", page),
        *re.findall(r"^    doctrain ([a-z-]+)", page, re.M),
    }
    assert {"workers", "queue", "dead-letters", "explain"} <= commands <= set(client_commands.commands)
    assert {"doctor", "healthcheck"} <= set(re.findall(r"doctrain-server\s([a-z]+)", page)) <= set(server_commands.commands)
    headings = {heading.lower() for heading in re.findall(r"^## (\w+)$", page, re.M)}
    assert set(re.findall(r"\]\(#(\w+)\)", page)) <= headings
    for other, anchor in re.findall(r"\]\(([\w/.-]+\.md)(?:#([\w-]+))?\)", page):
        told = (ROOT / "docs" / other).read_text()
        anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", told, re.M)}
        assert not anchor or anchor in anchors


def test_prometheus_reads_the_rules_the_configuration_and_every_query(tmp_path: Path) -> None:
    queries = [
        {"record": f"query_{number}", "expr": expression.replace("$__rate_interval", "5m").replace("$worker", ".*")}
        for number, (_, expression) in enumerate(expressions())
    ]
    every = tmp_path / "queries.yml"
    every.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": queries}]}))
    for rules in (every, ROOT / "deploy/prometheus/rules.yml"):
        promtool("check", "rules", rules)
    promtool("check", "config", ROOT / "deploy/prometheus/prometheus.yml")
