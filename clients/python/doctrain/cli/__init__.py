"""The command line ``doctrain``; needs the extra ``doctrain[cli]``.

Commands import gRPC and rich when they run, not before, so that help and completion come at once.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line and exits with its code."""
    from doctrain.cli.interrupts import quietly

    with quietly():
        try:
            import click  # noqa: F401 (is it there?)
        except ModuleNotFoundError as error:
            if error.name != "click":
                raise
            sys.exit("The command line needs two more packages; install them with: pip install click rich")
        from doctrain.cli.app import doctrain

    doctrain(prog_name="doctrain")
