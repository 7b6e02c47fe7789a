"""``doctrain-server``: runs one part of the mesh. Settings come from ``DOCTRAIN_*`` (docs/reference/settings.md)."""

from __future__ import annotations

import asyncio
import json
import sys
from importlib import metadata
from pathlib import Path

import click

from doctrain_mesh import settings as settings_module
from doctrain_server.commands import certs, dev, doctor
from doctrain_server.sentences import told


class _Parts(click.Group):
    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] in {dev.name, certs.name}:
            ctx.fail(f"It is a command of doctrain: doctrain {args[0]}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Parts, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(metadata.version("doctrain-server"), prog_name="doctrain-server")
def cli() -> None:
    """Runs the parts of the mesh; everything is set by DOCTRAIN_* variables."""


@cli.command()
def coordinator() -> None:
    """Serve tenants, workers and operators, and dispatch when this one leads."""
    from doctrain_server.services.coordinator import run_coordinator

    asyncio.run(run_coordinator(settings_module.load()))


@cli.command()
def worker() -> None:
    """Read documents: a guardian, the worker's main process, and its children."""
    from doctrain_server.services.guarded import run_guarded

    run_guarded(settings_module.load())


@cli.command("worker-main", hidden=True)
def worker_main() -> None:
    """The worker's main process, started by its guardian."""
    from doctrain_server.services.worker import run_main

    asyncio.run(run_main(settings_module.load()))


@cli.command()
def migrate() -> None:
    """Make this program's schema in an empty database; coordinators do so by themselves when they start."""
    from doctrain_coordinator.store.migrate import migrate as bring_up

    click.echo(asyncio.run(bring_up(settings_module.load().database_url)))


@cli.command()
@click.option("--again", is_flag=True, help="Also when there is an operator's key already.")
def bootstrap(again: bool) -> None:
    """Make a first operator key and a worker key, straight in the database, and print them and their ids as JSON, this once."""
    from doctrain_server.bootstrap import first_keys

    click.echo(json.dumps(asyncio.run(first_keys(settings_module.load(), again=again)), indent=2))


@cli.command()
@click.argument("address", default="127.0.0.1:7700")
@click.option(
    "--ca", default="", envvar=["DOCTRAIN_TLS_CA", "DOCTRAIN_CA"], show_envvar=True, help="File of the CA that signed its certificate."
)
def healthcheck(address: str, ca: str) -> None:
    """Exit 0 when the coordinator at ADDRESS (127.0.0.1:7700) serves, else 1 (grpc.health.v1)."""
    from doctrain_server.healthcheck import fault

    wrong = asyncio.run(fault(address, settings_module.Settings(tls_ca=ca)))
    if wrong is not None:
        raise click.ClickException(f"Coordinator {address}: {wrong.sentence}")


@cli.command()
@click.option("--folder", type=click.Path(path_type=Path), default=None, help="Documents to train instead of the shipped ones.")
@click.option("--keep", is_flag=True, help="Stay up at the end, for its dashboard, until Ctrl-C.")
def demo(folder: Path | None, keep: bool) -> None:
    """Train the shipped documents on an embedded mesh, show how, and end."""
    from doctrain_server.dev.demo import run_demo

    sys.exit(asyncio.run(run_demo(folder, keep=keep)))


cli.add_command(doctor)


def main() -> None:
    """Runs the command line; what a person can mend is told as a sentence, without a stack trace."""
    try:
        with told("doctrain-server"):
            cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
