"""Commands that the server adds to ``doctrain``: ``dev`` and ``doctor``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from doctrain_mesh import settings as settings_module
from doctrain_server.sentences import told


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
def dev(data: Path, workers: int, listen: str) -> None:
    """Run a whole mesh in this process: Postgres, a coordinator and workers."""
    from doctrain_server.dev import run_dev

    with told("doctrain dev"):
        asyncio.run(run_dev(settings_module.load(listen=listen), data, workers))


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("doctrain-data"),
    show_default=True,
    help="Folder of a `doctrain dev` that runs, which is looked at when DOCTRAIN_DATABASE_URL is not set.",
)
def doctor(data: Path) -> None:
    """Say what is set, what answers, and what is unsafe."""
    from doctrain_mesh import logs
    from doctrain_server.doctor import examine_dev
    from doctrain_server.finding import Finding

    findings: list[Finding] = []
    logs.configure("CRITICAL", "text", libraries="CRITICAL")  # what goes wrong is a finding
    with told("doctrain doctor"):
        findings = asyncio.run(examine_dev(data, settings_module.load()))
    for finding in findings:
        click.echo(f"{'ok  ' if finding.good else 'BAD '} {finding.subject}: {finding.sentence}")
    sys.exit(0 if all(finding.good for finding in findings) else 1)
