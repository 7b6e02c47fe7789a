"""The group of all commands, with those that installed plug-ins add.

The server's package brings ``dev`` and others that way (``plugins``). A plug-in never replaces a command of this package.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from typing import IO, Any

import click
from click.exceptions import NoArgsIsHelpError

from doctrain import __version__
from doctrain.cli import concurrency, finding, interrupts, operators, plugins, starting, tenants, trainings, usage, wording, workers
from doctrain.cli.session import USAGE, connection_options


class _JsonError(click.ClickException):
    """An error of click's, told as an object."""

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(json.dumps(wording.error_object(self.message)), err=True)


class _JsonUsageError(_JsonError):
    exit_code = USAGE


@contextmanager
def _endings(*, as_json: bool) -> Iterator[None]:
    """Ends the process as a person or a program expects when something was wrong, or nobody reads its output any more."""
    try:
        yield
    except NoArgsIsHelpError:
        raise
    except BrokenPipeError:
        interrupts.leave_unread()
    except click.ClickException as error:
        if not as_json:
            raise
        kind = _JsonUsageError if error.exit_code == USAGE else _JsonError
        raise kind(error.format_message()) from error


class _WithPlugins(click.Group):
    def make_context(self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any) -> click.Context:
        as_json = "--json" in args  # an error may come before options are known
        with _endings(as_json=as_json):
            context = super().make_context(info_name, args, parent, **extra)
        context.meta["doctrain.json"] = as_json
        return context

    def invoke(self, ctx: click.Context) -> Any:
        with _endings(as_json=ctx.meta["doctrain.json"]):
            return super().invoke(ctx)

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted({*super().list_commands(context), *plugins.installed().names})

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        own = super().get_command(context, name)
        if own is not None:
            return own
        for plugin in plugins.installed().select(name=name):
            return _load(plugin)
        return None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] in plugins.OF_SERVER and self.get_command(ctx, args[0]) is None:
            ctx.fail(f"The command {args[0]} comes with the package doctrain-server, which is not installed here.")
        return super().resolve_command(ctx, args)


def _load(plugin: EntryPoint) -> click.Command:
    """The plug-in's command, or one that says why there is none: help must not fail for a broken plug-in."""
    try:
        command = plugin.load()
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
    else:
        if isinstance(command, click.Command):
            return command
        cause = f"{plugin.value} is no click command"

    @click.command(plugin.name, help=f"Not available: {cause}", context_settings={"ignore_unknown_options": True})
    @click.argument("arguments", nargs=-1)
    def broken(arguments: tuple[str, ...]) -> None:
        raise click.ClickException(f"The plug-in {plugin.name} does not load: {cause}")

    return broken


@click.group(cls=_WithPlugins, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="doctrain")
@connection_options(variables=False, hidden=False)
def doctrain(**_options: object) -> None:
    """Train documents for search.

    Which service and which key: --address and --api-key, or DOCTRAIN_ADDRESS and DOCTRAIN_API_KEY, or the profile that
    `doctrain dev` writes. These options, --ca and --json may stand before the command or after it.

    Exit codes: 0 done, 1 the training did not complete, 2 wrong usage, also where only the service can tell, 3 the service did not
    answer, 4 the service refused the request, 5 the key does not open this, 6 a fault of the service, 130 interrupted,
    141 nobody read the output to its end.
    """


_MODULES = (starting, trainings, finding, usage, workers, operators, concurrency, tenants)
for _command in (command for module in _MODULES for command in module.COMMANDS):
    doctrain.add_command(_command)
