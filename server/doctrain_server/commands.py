"""Commands that the server adds to ``doctrain``: ``dev``, ``doctor`` and ``certs``."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from doctrain.cli.connection import DEFAULT_PROFILE, PROFILE_VARIABLE
from doctrain.cli.session import json_wanted
from doctrain_mesh import settings as settings_module
from doctrain_server.sentences import told

if TYPE_CHECKING:
    from doctrain_server.doctor.finding import Finding


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("doctrain-data"),
    show_default=True,
    help="Folder for its data.",
)
@click.option("--workers", type=click.IntRange(1, 16), default=2, show_default=True, help="How many workers.")
@click.option("--listen", default="127.0.0.1:7700", show_default=True, help="Where to serve; port 0 takes a free one.")
@click.option(
    "--dashboard", default="127.0.0.1:7780", show_default=True, help="Where to serve the dashboard; port 0 takes a free one, empty: none."
)
def dev(data: Path, workers: int, listen: str, dashboard: str) -> None:
    """Run a whole mesh here.

    Postgres, a coordinator and workers, in this process and until it is stopped.
    """
    if json_wanted():
        raise click.UsageError("It runs until it is stopped and prints no JSON; client.json in its folder says where it serves.")
    from doctrain_server.dev.program import run_dev

    with told("doctrain dev"):
        asyncio.run(run_dev(settings_module.load(listen=listen, dashboard_listen=dashboard), data, workers))


def _folder_of_profile() -> Path:
    """Where the `doctrain dev` keeps its data that this shell was told of."""
    return Path(os.environ.get(PROFILE_VARIABLE) or DEFAULT_PROFILE).parent


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=_folder_of_profile,
    show_default="that of DOCTRAIN_PROFILE, else doctrain-data",
    help="Folder of a `doctrain dev` that runs, which is looked at when DOCTRAIN_DATABASE_URL is not set.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, a finding a line: `subject`, `verdict` (ok, unknown or bad), `sentence`."
)
def doctor(data: Path, **_options: object) -> None:
    """Say what is set, what answers, and what is unsafe.

    `ok` is well, `BAD` is not, `?` cannot be told from here. Exits 1 when something is bad. The CA of coordinators is DOCTRAIN_TLS_CA, as
    for services, else DOCTRAIN_CA, as for clients.
    """
    from doctrain_mesh.observability import logs
    from doctrain_server.doctor.finding import Verdict

    logs.configure("CRITICAL", "text", libraries="CRITICAL")  # what goes wrong is a finding
    findings = _findings(data)
    for finding in findings:
        if json_wanted():
            said = {"subject": finding.subject, "verdict": finding.verdict.name.lower(), "sentence": finding.sentence}
            click.echo(json.dumps(said, ensure_ascii=False))
        else:
            click.echo(f"{finding.verdict.value:<3}  {finding.subject}: {finding.sentence}")
    sys.exit(1 if any(finding.verdict is Verdict.BAD for finding in findings) else 0)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--name",
    "names",
    multiple=True,
    default=("localhost", "127.0.0.1"),
    show_default=True,
    help="Host name or IP address at which coordinators are reached; may be repeated.",
)
@click.option("--days", type=click.IntRange(1, 3650), default=90, show_default=True, help="How long they are valid.")
@click.option("--json", "as_json", is_flag=True, help="Print the settings as JSON: `coordinator`, `worker`, `tenant`.")
def certs(folder: Path, names: tuple[str, ...], days: int, **_options: object) -> None:
    """Make certificates for trying TLS out.

    A CA of its own, a certificate for coordinators and one for workers, in FOLDER. Nothing there is overwritten.
    """
    from doctrain_server import development_ca

    with told("doctrain certs"):
        made = development_ca.write(folder, names, days=days, now=datetime.datetime.now(datetime.UTC))
    if json_wanted():
        click.echo(json.dumps(made, indent=2))
        return
    for who, settings in made.items():
        click.echo(f"# {who}")
        for variable, value in settings.items():
            click.echo(f"{variable}={value}")
    port = made["coordinator"]["DOCTRAIN_WORKER_LISTEN"].rpartition(":")[2]
    click.echo(
        f"# DOCTRAIN_ADVERTISE of each coordinator, and DOCTRAIN_COORDINATORS of workers, then name the address for workers: HOST:{port}."
    )
    click.echo(f"# Whoever has {folder / 'ca.key'} makes certificates that the mesh trusts: keep it off the machines that serve.")


def _findings(data: Path) -> list[Finding]:
    from doctrain_mesh.errors import DoctrainError
    from doctrain_server.dev.examination import examine_dev
    from doctrain_server.doctor.finding import Finding, Verdict

    try:
        settings = settings_module.load()
        settings = dataclasses.replace(settings, tls_ca=settings.tls_ca or os.environ.get("DOCTRAIN_CA", ""))
        return asyncio.run(examine_dev(data, settings))
    except DoctrainError as error:
        return [Finding("settings", Verdict.BAD, error.sentence)]
