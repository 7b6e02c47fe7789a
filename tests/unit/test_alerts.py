"""Alerts as Prometheus itself decides: each fires when what it is about goes wrong, and none while all is well or nearly so."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from testkit.promtool import promtool

RULES = Path(__file__).parents[2] / "deploy/prometheus/rules.yml"
ALERTS = {rule["alert"] for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"] if "alert" in rule}
HOURS, DAYS = 90, 1500
"""Minutes: of most scenes, and of one that an alert waits a day for."""
EVALUATED = "5m"
"""Seldom, since it is what costs."""

Series = Mapping[str, str]
"""Each with its first value and what is added a minute; without one it is missing."""

TARGET = 'up{job="doctrain-worker",instance="w"}'
LEADING = 'doctrain_leading{instance="c"}'
LIVE, SPARED = (f'doctrain_sessions{{doctrain_state="{state}"}}' for state in ("live", "spared"))
OPEN, WAITING, LETTERS, UNCONFIRMED = (
    f"doctrain_{name}" for name in ("documents_open", "shards_oldest_wait_seconds", "dead_letters_total", "publisher_queue")
)
FREE = 'doctrain_lanes{doctrain_state="free"}'
POSTGRES, RABBITMQ, ETCD = (f'doctrain_dependency_away{{doctrain_part="{part}"}}' for part in ("Postgres", "RabbitMQ", "etcd"))
MEMORY, DISK = (f"rabbitmq_alarms_{what}_watermark" for what in ("memory_used", "free_disk_space"))
REMOVAL = 'doctrain_removal_failing{doctrain_step="tenants"}'
FENCES = 'doctrain_worker_fences_total{instance="w"}'
TRAINED, FAILED = (f'doctrain_documents_total{{doctrain_outcome="{outcome}"}}' for outcome in ("trained", "failed"))
GUARANTEED, ALLOWED = (f'doctrain_plan_slots{{doctrain_plan="free",doctrain_kind="{kind}"}}' for kind in ("guaranteed", "allowed"))


def commits(within: int, all_: int) -> Series:
    """So many a minute, and how many of them within 100 ms; the others take up to 5 s."""
    return _buckets("doctrain_commit_duration_seconds_bucket", "", within, all_)


def lags(within: int, all_: int) -> Series:
    """Looks at a worker's event loop a minute, and how many of them found it no later than 100 ms."""
    return _buckets("doctrain_loop_lag_seconds_bucket", 'instance="w",', within, all_)


def _buckets(name: str, labels: str, within: int, all_: int) -> Series:
    counts = {"0.1": within, "5": all_, "+Inf": all_}
    return {f'{name}{{{labels}le="{most}"}}': f"0+{count}" for most, count in counts.items()}


WELL: Series = {
    **{TARGET: "1+0", LEADING: "1+0", LIVE: "2+0", SPARED: "0+0", OPEN: "100+0", FREE: "3+0", UNCONFIRMED: "0+0", WAITING: "60+0"},
    **dict.fromkeys((POSTGRES, RABBITMQ, ETCD, MEMORY, DISK, LETTERS, FENCES, REMOVAL), "0+0"),
    **{TRAINED: "0+100", FAILED: "0+10", GUARANTEED: "5+0", ALLOWED: "5+0"},
    **commits(100, 100),
    **lags(60, 60),
}
"""A mesh at work."""

SCENES: Mapping[str, tuple[Series, set[str]]] = {
    "all is well": ({}, set()),
    "a worker does not answer": ({TARGET: "0+0"}, {"DoctrainTargetDown"}),
    "no coordinator leads": ({LEADING: "0+0"}, {"DoctrainNoLeader"}),
    "no coordinator says whether it leads": ({LEADING: ""}, {"DoctrainNoLeader"}),
    "nobody takes work": ({LIVE: "0+0"}, {"DoctrainNoHealthyWorker"}),
    "nobody takes work, and there is none": ({LIVE: "0+0", OPEN: "0+0"}, set()),
    "all workers are ill and spared": ({LIVE: "0+0", SPARED: "2+0"}, {"DoctrainHealthAlarm"}),
    "Postgres is away": ({POSTGRES: "1+0"}, {"DoctrainPostgresAway"}),
    "RabbitMQ is away": ({RABBITMQ: "1+0"}, {"DoctrainRabbitMQAway"}),
    "RabbitMQ is short of memory": ({MEMORY: "1+0"}, {"DoctrainRabbitMQAlarm"}),
    "RabbitMQ is short of disk": ({DISK: "1+0"}, {"DoctrainRabbitMQAlarm"}),
    "grants are not confirmed": ({UNCONFIRMED: "3+0"}, {"DoctrainGrantsUnconfirmed"}),
    "etcd is away": ({ETCD: "1+0"}, {"DoctrainEtcdAway"}),
    "the queue grows and all lanes are taken": ({OPEN: "100+10", FREE: "0+0"}, {"DoctrainQueueGrows"}),
    "the queue grows and lanes are free": ({OPEN: "100+10"}, set()),
    "all lanes are taken and the queue shrinks": ({OPEN: "9000-10", FREE: "0+0"}, set()),
    "a training waits since yesterday": ({WAITING: "86400+60"}, {"DoctrainOldestWaitsLong"}),
    "messages are put aside": ({LETTERS: "0+1"}, {"DoctrainDeadLetters"}),
    "messages were put aside long ago": ({LETTERS: "5+0"}, set()),
    "commits are slow": (commits(90, 100), {"DoctrainCommitsSlow"}),
    "a worker loses its session again and again": ({FENCES: "0+1"}, {"DoctrainWorkerFenced"}),
    "an event loop is late": (lags(20, 60), {"DoctrainLoopLate"}),
    "an event loop is late now and then": (lags(58, 60), set()),
    "what is deleted cannot be removed": ({REMOVAL: "1+0"}, {"DoctrainRemovalFails"}),
    "most documents fail": ({TRAINED: "0+10", FAILED: "0+100"}, {"DoctrainDocumentsFail"}),
    "an order keeps a plan below its guarantee": ({ALLOWED: "3+0"}, {"DoctrainPlanCapped"}),
    "a plan bursts": ({ALLOWED: "15+0"}, set()),
}


def scene(name: str) -> dict[str, Any]:
    """For promtool: what is measured, and the alerts that fire at the end."""
    changes, fire = SCENES[name]
    minutes = DAYS if ALLOWED in changes else HOURS
    told = {series: values for series, values in {**WELL, **changes}.items() if values}
    firing = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(fire)]
    return {
        "name": name,
        "interval": "1m",
        "input_series": [{"series": series, "values": f"{values}x{minutes}"} for series, values in told.items()],
        "promql_expr_test": [
            {"expr": "count by (alertname) (ALERTS{alertstate='firing'})", "eval_time": f"{minutes}m", "exp_samples": firing}
        ],
    }


@pytest.mark.timeout(180)
def test_each_alert_fires_for_what_it_is_about_and_for_nothing_else(tmp_path: Path) -> None:
    assert set().union(*(fire for _, fire in SCENES.values())) == ALERTS
    shutil.copy(RULES, tmp_path)
    scenes = {"rule_files": [RULES.name], "evaluation_interval": EVALUATED, "tests": [scene(name) for name in SCENES]}
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(scenes))
    promtool("test", "rules", tmp_path / "tests.yml")
