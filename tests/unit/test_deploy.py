"""docker-compose.yml, the collector's configuration and the Dockerfile against the code that they start."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from doctrain_mesh import settings
from doctrain_server.__main__ import cli

ROOT = Path(__file__).parents[2]


def compose() -> dict[str, Any]:
    """The file as compose reads it, with the defaults of its variables."""
    text = (ROOT / "docker-compose.yml").read_text()
    loaded = yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text))
    assert isinstance(loaded, dict)
    return loaded


SERVICES: dict[str, dict[str, Any]] = compose()["services"]
OURS = [name for name, service in SERVICES.items() if "build" in service]


@pytest.mark.parametrize("name", OURS)
def test_each_service_starts_with_settings_that_the_code_knows(name: str) -> None:
    loaded = settings.load({key: str(value or "") for key, value in SERVICES[name]["environment"].items()})
    assert loaded.database_url.startswith("postgresql://")
    assert loaded.broker_url.startswith("amqp://")
    assert loaded.registry_url.startswith("etcd://")


def test_the_mesh_has_two_coordinators_and_three_workers() -> None:
    counts = {"coordinator": 0, "worker": 0}
    for name in OURS:
        role = SERVICES[name]["command"][0]
        counts[role] = counts.get(role, 0) + SERVICES[name].get("deploy", {}).get("replicas", 1)
    assert counts["coordinator"] == 2
    assert counts["worker"] == 3


def test_what_others_wait_for_has_a_health_check() -> None:
    awaited = {
        dependency
        for service in SERVICES.values()
        for dependency, condition in service.get("depends_on", {}).items()
        if condition["condition"] == "service_healthy"
    }
    assert awaited
    assert all("healthcheck" in SERVICES[name] for name in awaited)


def test_images_have_versions_and_ports_are_open_to_this_machine_only() -> None:
    for name, service in SERVICES.items():
        assert re.fullmatch(r"[\w./-]+:(?!latest)[\w.-]+", service["image"]), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name


def test_prometheus_scrapes_every_process_of_the_mesh_where_it_serves_its_metrics() -> None:
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    places = {target for job in scraped for group in job.get("static_configs", []) for target in group["targets"]}
    places |= {f"{name}:{sd['port']}" for job in scraped for sd in job.get("dns_sd_configs", []) for name in sd["names"]}
    ours = {f"{name}:{SERVICES[name]['environment']['DOCTRAIN_METRICS_LISTEN'].rpartition(':')[2]}" for name in OURS}
    assert ours <= places
    assert {place.partition(":")[0] for place in places} <= set(SERVICES)


def test_grafana_finds_its_sources_and_dashboards() -> None:
    folder = ROOT / "deploy/grafana/provisioning"
    sources = yaml.safe_load((folder / "datasources/doctrain.yaml").read_text())["datasources"]
    assert {urlsplit(source["url"]).hostname for source in sources} <= set(SERVICES)
    (provider,) = yaml.safe_load((folder / "dashboards/doctrain.yaml").read_text())["providers"]
    mounted = [volume.split(":")[:2] for volume in SERVICES["grafana"]["volumes"]]
    assert ["./deploy/grafana/dashboards", provider["options"]["path"]] in mounted
    uids = {source["uid"] for source in sources}
    for dashboard in (ROOT / "deploy/grafana/dashboards").glob("*.json"):
        assert {panel["datasource"]["uid"] for panel in json.loads(dashboard.read_text())["panels"] if "datasource" in panel} <= uids


def test_volumes_exist() -> None:
    named = set(compose()["volumes"])
    for service in SERVICES.values():
        for source in (volume.partition(":")[0] for volume in service.get("volumes", [])):
            assert source in named or (ROOT / source).exists()


def test_the_processes_get_longer_to_stop_than_they_take_to_drain() -> None:
    for name in OURS:
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > settings.load({}).drain_seconds


def test_the_collector_s_pipelines_name_parts_that_are_configured() -> None:
    collector = yaml.safe_load((ROOT / "deploy/otel-collector.yaml").read_text())
    assert set(collector["service"]["extensions"]) <= set(collector["extensions"])
    for pipeline in collector["service"]["pipelines"].values():
        for kind in ("receivers", "processors", "exporters"):
            assert set(pipeline[kind]) <= set(collector[kind])
    assert collector["exporters"]["otlp/jaeger"]["endpoint"].partition(":")[0] in SERVICES


def test_the_image_runs_as_nobody_special_and_holds_only_what_the_lock_names() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    last = dockerfile.rpartition("\nFROM ")[2]
    (user,) = re.findall(r"^USER (.*)$", last, re.MULTILINE)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert not re.findall(r"^(?:RUN|COPY|ADD) ", last.partition("\nUSER ")[2], re.MULTILINE), "nothing is done after it that root would do"
    installs = re.findall(r"pip install (.*)", dockerfile)
    assert installs
    assert all("--require-hashes" in install or "--no-index" in install for install in installs)
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile, re.MULTILINE)
    assert all((ROOT / source).exists() for sources in copied for source in sources.split())


def test_no_worker_starts_before_there_is_a_key_for_it() -> None:
    keyless = {name for name, service in SERVICES.items() if service.get("environment", {}).get("DOCTRAIN_WORKER_KEY", "") is None}
    assert keyless == {name for name in OURS if SERVICES[name]["command"] == ["worker"]}
    assert all(SERVICES[name]["profiles"] == ["workers"] for name in keyless)
    assert not any("profiles" in service for name, service in SERVICES.items() if name not in keyless)


@pytest.mark.parametrize("file", ["docker-compose.yml", "Dockerfile", "README.md"])
def test_every_page_that_is_named_exists(file: str) -> None:
    assert all((ROOT / page).exists() for page in re.findall(r"docs/[\w/-]+\.md", (ROOT / file).read_text()))


def test_the_page_on_compose_names_what_is_in_the_file() -> None:
    page = (ROOT / "docs/howto/run-with-compose.md").read_text()
    file = (ROOT / "docker-compose.yml").read_text()
    commands = re.findall(r"docker compose (?:exec|logs) ([\w-]+)", page)
    assert commands
    assert set(commands) <= set(SERVICES)
    for variable, value in re.findall(r"^    ([A-Z_]+)=(\S+)$", page, re.MULTILINE):
        if variable == "COMPOSE_PROFILES":
            assert value in {profile for service in SERVICES.values() for profile in service.get("profiles", [])}
        else:
            assert f"${{{variable}:-" in file
    published = {port.rpartition(":")[0] for service in SERVICES.values() for port in service.get("ports", [])}
    assert set(re.findall(r"127\.0\.0\.1:\d+", page)) <= published


def test_the_page_on_compose_runs_commands_that_exist() -> None:
    page = (ROOT / "docs/howto/run-with-compose.md").read_text()
    for command in re.findall(r"doctrain-server ([a-z]+)", page):
        assert command in cli.commands
    assert "image" in SERVICES["coordinator-1"]
    assert (ROOT / "Dockerfile").read_text().count('ENTRYPOINT ["doctrain-server"]') == 1
