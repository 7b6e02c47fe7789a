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
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click
from click.core import ParameterSource

from doctrain.cli import interrupts, wording
from doctrain.cli.connection import KEY_VARIABLE, Access, Connection, resolve

if TYPE_CHECKING:
    from doctrain.client import AsyncClient
    from doctrain.errors import DoctrainError

DONE, NOT_COMPLETED, USAGE, UNAVAILABLE, REFUSED, NO_ACCESS, FAULT = 0, 1, 2, 3, 4, 5, 6

Arguments = ParamSpec("Arguments")
Decorated = TypeVar("Decorated", bound=Callable[..., Any])
CONNECTION = {
    "address": ("--address", "DOCTRAIN_ADDRESS", "The service, as HOST:PORT[,HOST:PORT]."),
    "api_key": ("--api-key", KEY_VARIABLE, "Who you are."),
    "ca": ("--ca", "DOCTRAIN_CA", "PEM file of the service's CA, or `system`; without it: no TLS."),
}
"""Options that every command takes, before its name and after it."""
OF_TENANT, OF_ALL = "of_tenant", "of_all_tenants"
"""What operators choose tenants by in commands that are tenants' otherwise."""


@dataclass
class Session:
    """What a running command knows beside its own arguments."""

    connection: Connection
    as_json: bool
    tenant: str = ""
    """Whom an operator acts for."""
    interrupt_hint: str = "Interrupted."
    """What to say when the person presses Ctrl-C now."""

    def client(self) -> AsyncClient:
        """A client of the service, to be used in ``async with``. Raises InvalidKeyError, UsageError."""
        from doctrain.client import AsyncClient
        from doctrain.errors import InvalidKeyError

        if not self.connection.api_key:
            raise InvalidKeyError(f"--api-key or {KEY_VARIABLE} is given and empty: give a key, or neither of them to use the profile's.")
        return AsyncClient(self.connection.address, api_key=self.connection.api_key, ca=self.connection.ca, tenant=self.tenant)

    def command(self, *words: str) -> str:
        """Another command for the same tenant, to be typed by the person."""
        return " ".join(("doctrain", *words, *(("--tenant", self.tenant) if self.tenant else ())))

    def tell(self, error: DoctrainError | OSError) -> int:
        """Says what went wrong, on standard error; answers the exit code that it deserves."""
        if isinstance(error, OSError):
            said, found, code = _of_file(error), wording.error_object(_of_file(error)), USAGE
        else:
            said, found, code = wording.sentence(error), wording.error_object(error.sentence, error), exit_code(error)
        click.echo(json.dumps(found) if self.as_json else f"Error: {said}", err=True)
        return code


def connection_options(*, variables: bool, hidden: bool = True) -> Callable[[Decorated], Decorated]:
    """Adds the options that say where to and as whom; ``variables``: the environment stands in for those that are not given.

    Groups take them without it, so that what was typed before a command goes before what is set for the command itself. All but
    ``--json`` are ``hidden`` in the help of commands: the first one lists them.
    """

    def decorate(function: Decorated) -> Decorated:
        elsewhere = " (--address, --api-key, --ca: see doctrain --help)" if hidden else ""
        function = click.option("--json", "as_json", is_flag=True, help=f"Print JSON, one object a line.{elsewhere}")(function)
        for name, (option, variable, text) in reversed(CONNECTION.items()):
            envvar = variable if variables else None
            function = click.option(option, name, envvar=envvar, hidden=hidden, help=f"{text}  [env var: {variable}]")(function)
        return function

    return decorate


def connected(
    access: Access, *, for_tenant: bool = False
) -> Callable[[Callable[Concatenate[Session, Arguments], Coroutine[Any, Any, int | None]]], Callable[..., None]]:
    """Makes a command of a coroutine function that takes a Session first and returns its exit code (None: 0).

    ``for_tenant``: operators may call it, too, with the name of a tenant.
    """

    def decorate(function: Callable[Concatenate[Session, Arguments], Coroutine[Any, Any, int | None]]) -> Callable[..., None]:
        @connection_options(variables=True)
        @_tenant_option(wanted=for_tenant)
        @functools.wraps(function)
        def command(
            address: str | None,
            api_key: str | None,
            ca: str | None,
            as_json: bool,
            *args: Arguments.args,
            **kwargs: Arguments.kwargs,
        ) -> None:
            os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its C++ lines would stand before our sentence
            tenant = str(kwargs.pop(OF_TENANT, "") or "")
            connection = resolve(
                Access.OPERATOR if tenant or kwargs.get(OF_ALL) else access,
                address=_chosen("address", address),
                api_key=_chosen("api_key", api_key),
                ca=_chosen("ca", ca),
                environment=os.environ,
                folder=Path(),
            )
            session = Session(connection, bool(_chosen("as_json", as_json)), tenant)
            sys.exit(_run(session, function(session, *args, **kwargs)))

        return command

    return decorate


def _tenant_option(*, wanted: bool) -> Callable[[Decorated], Decorated]:
    def decorate(function: Decorated) -> Decorated:
        option = click.option("--tenant", OF_TENANT, metavar="NAME", default="", help="As an operator: of this tenant.")
        return option(function) if wanted else function

    return decorate


def json_wanted() -> bool:
    """Whether ``--json`` was given, before the command that runs or after it; for plug-ins."""
    context: click.Context | None = click.get_current_context()
    while context is not None:
        if context.params.get("as_json"):
            return True
        context = context.parent
    return False


def _chosen(name: str, own: Any) -> Any:
    """The option as given after the command, else before it, nearest first, else what the environment says."""
    context: click.Context | None = click.get_current_context()
    while context is not None:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            return context.params[name]
        context = context.parent
    return own


def _run(session: Session, work: Coroutine[Any, Any, int | None]) -> int:
    with interrupts.quietly():
        from doctrain.errors import DoctrainError

        try:
            return asyncio.run(interrupts.interruptible(work, lambda: session.interrupt_hint)) or DONE
        except asyncio.CancelledError:
            interrupts.ignore()
            click.echo(f"\n{session.interrupt_hint}", err=True)
            return interrupts.INTERRUPTED
        except BrokenPipeError:
            raise  # whoever read our output has seen enough
        except DoctrainError as error:
            return session.tell(error)
        except OSError as error:
            raise click.UsageError(_of_file(error)) from error


def _of_file(error: OSError) -> str:
    return str(error) if error.errno is None else f"{error.filename or 'A file'}: {error.strerror}"


def exit_code(error: DoctrainError) -> int:
    """The exit code by the kind of error, as the command line's help lists them."""
    from doctrain import errors

    if isinstance(error, errors.UnavailableError):
        return UNAVAILABLE
    if isinstance(error, errors.AccessError):
        return NO_ACCESS
    if isinstance(error, errors.UsageError | errors.InvalidRequestError):
        return USAGE
    refusals = (
        *(errors.RequestTooLargeError, errors.QuotaExceededError, errors.NothingToRetryError),
        *(errors.NotFoundError, errors.AlreadyExistsError, errors.TrainingNotEndedError, errors.ConfigurationError),
        *(errors.TenantSuspendedError, errors.PlanInUseError, errors.LastOperatorKeyError),
    )
    return REFUSED if isinstance(error, refusals) else FAULT
