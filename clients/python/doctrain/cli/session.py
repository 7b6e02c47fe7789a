"""One run of one command: its options, its client, its errors and its exit code."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import click

from doctrain.cli.connection import Access, Connection, resolve

if TYPE_CHECKING:
    from doctrain.client import AsyncClient
    from doctrain.errors import DoctrainError

DONE, NOT_COMPLETED, USAGE, UNAVAILABLE, REFUSED, NO_ACCESS, FAULT, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 130

Arguments = ParamSpec("Arguments")


@dataclass
class Session:
    """What a running command knows beside its own arguments."""

    connection: Connection
    as_json: bool
    interrupt_hint: str = "Interrupted."
    """What to say when the person presses Ctrl-C now."""

    def client(self) -> AsyncClient:
        """A client of the service, to be used in ``async with``."""
        from doctrain.client import AsyncClient

        try:
            return AsyncClient(self.connection.address, api_key=self.connection.api_key, ca=self.connection.ca)
        except ValueError as error:
            raise click.UsageError(str(error)) from error


def connected(
    access: Access,
) -> Callable[[Callable[Concatenate[Session, Arguments], Coroutine[Any, Any, int | None]]], Callable[..., None]]:
    """Makes a command of a coroutine function that takes a Session first and returns its exit code (None: 0)."""

    def decorate(function: Callable[Concatenate[Session, Arguments], Coroutine[Any, Any, int | None]]) -> Callable[..., None]:
        @click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
        @click.option("--ca", envvar="DOCTRAIN_CA", show_envvar=True, help="PEM file of the service's CA, or `system`; without it: no TLS.")
        @click.option("--api-key", envvar="DOCTRAIN_API_KEY", show_envvar=True, help="Who you are.")
        @click.option("--address", envvar="DOCTRAIN_ADDRESS", show_envvar=True, help="The service, as HOST:PORT[,HOST:PORT].")
        @functools.wraps(function)
        def command(
            address: str | None, api_key: str | None, ca: str | None, as_json: bool, *args: Arguments.args, **kwargs: Arguments.kwargs
        ) -> None:
            connection = resolve(access, address=address, api_key=api_key, ca=ca, environment=os.environ, folder=Path())
            session = Session(connection, as_json)
            sys.exit(_run(session, function(session, *args, **kwargs)))

        return command

    return decorate


def _run(session: Session, work: Coroutine[Any, Any, int | None]) -> int:
    from doctrain.errors import DoctrainError

    try:
        return asyncio.run(work) or DONE
    except KeyboardInterrupt:
        click.echo(f"\n{session.interrupt_hint}", err=True)
        return INTERRUPTED
    except DoctrainError as error:
        click.echo(json.dumps(error_object(error)) if session.as_json else f"Error: {error}", err=True)
        return exit_code(error)
    except BrokenPipeError:
        raise  # whoever read our output has seen enough; click ends quietly
    except OSError as error:
        sentence = str(error) if error.errno is None else f"{error.filename or 'A file'}: {error.strerror}"
        raise click.UsageError(sentence) from error


def exit_code(error: DoctrainError) -> int:
    """The exit code by the kind of error, as the command line's help lists them."""
    from doctrain import errors

    if isinstance(error, errors.UnavailableError):
        return UNAVAILABLE
    if isinstance(error, errors.AccessError):
        return NO_ACCESS
    refusals = (
        *(errors.InvalidRequestError, errors.RequestTooLargeError, errors.QuotaExceededError),
        *(errors.NotFoundError, errors.AlreadyExistsError, errors.ConfigurationError),
    )
    return REFUSED if isinstance(error, refusals) else FAULT


def error_object(error: DoctrainError) -> dict[str, Any]:
    """The error for ``--json``."""
    return {
        "error": {
            "sentence": error.sentence,
            "reason": error.reason,
            "status": error.status.name if error.status else "",
            "violations": [{"field": violation.field, "description": violation.description} for violation in error.violations],
            "metadata": dict(error.metadata),
            "retry_after_seconds": error.retry_after_seconds,
        }
    }
