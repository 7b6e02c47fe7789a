"""The group of all commands, with those that installed plug-ins add.

A plug-in is an entry point of group ``doctrain.commands`` that names a ``click.Command``; the server's package brings
``dev`` and others that way. A plug-in never replaces a command of this package.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

import click

from doctrain import __version__
from doctrain.cli import operators, trainings

PLUGINS = "doctrain.commands"


class _WithPlugins(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return sorted({*super().list_commands(context), *entry_points(group=PLUGINS).names})

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        own = super().get_command(context, name)
        if own is not None:
            return own
        for plugin in entry_points(group=PLUGINS, name=name):
            return _load(plugin)
        return None


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


@click.group(cls=_WithPlugins, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="doctrain")
def doctrain() -> None:
    """Train documents for search.

    Which service and which key: --address and --api-key, or DOCTRAIN_ADDRESS and DOCTRAIN_API_KEY, or the profile that
    `doctrain dev` writes. Exit codes: 0 done, 1 the training did not complete, 2 wrong usage, 3 the service did not answer,
    4 the service refused the request, 5 the key does not open this, 6 a fault of the service, 130 interrupted.
    """


for _command in (*trainings.COMMANDS, *operators.COMMANDS):
    doctrain.add_command(_command)
