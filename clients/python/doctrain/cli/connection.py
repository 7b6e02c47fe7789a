"""Which service a command talks to, and with which key: options, then environment, then a profile.

A profile is a JSON file ``{"address": …, "tenant_key": …, "operator_key": …, "ca": …}``, written by ``doctrain dev``. Its
keys go to its own address only: who names another address names the key too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import click

from doctrain.cli import plugins
from doctrain.files import opened

KEY_VARIABLE = "DOCTRAIN_API_KEY"
PROFILE_VARIABLE = "DOCTRAIN_PROFILE"
DEFAULT_PROFILE = Path("doctrain-data/client.json")
SYSTEM_ROOTS = "system"


class Access(Enum):
    """Whose key a command needs, as a profile calls it."""

    TENANT = "tenant_key"
    OPERATOR = "operator_key"


@dataclass(frozen=True, slots=True)
class Connection:
    """Where to connect and as whom."""

    address: str
    api_key: str
    ca: str | None


def resolve(
    access: Access, *, address: str | None, api_key: str | None, ca: str | None, environment: Mapping[str, str], folder: Path
) -> Connection:
    """Puts together what was given; raises click.UsageError that says what is missing and how to give it.

    ``folder`` is where the default profile is looked for. A key that is given and empty stays so: nobody is to be taken for another.
    """
    profile = _read_profile(environment, folder)
    if api_key is None:
        api_key = environment.get(KEY_VARIABLE)
    if address is None:
        address = profile.get("address")
    if not address:
        raise click.UsageError(f"Which service? {_ways(folder)}")
    if profile.get("address") == address:
        api_key = profile.get(access.value) if api_key is None else api_key
        ca = ca or profile.get("ca")
    if api_key is None:
        whose = "an operator's" if access is Access.OPERATOR else "a tenant's"
        raise click.UsageError(f"No API key: give {whose} by --api-key or DOCTRAIN_API_KEY.")
    if ca and ca != SYSTEM_ROOTS and not Path(ca).is_file():
        wrong = "is no regular file" if Path(ca).exists() else "does not exist"
        raise click.UsageError(f"The CA file {ca} {wrong}; give a PEM file, or `{SYSTEM_ROOTS}` for the public authorities.")
    return Connection(address=address, api_key=api_key.strip(), ca=ca or None)


def _ways(folder: Path) -> str:
    """How a person may say which service is meant."""
    if (folder / DEFAULT_PROFILE).parent.is_dir():
        started = f", or, while `doctrain dev` still starts here, wait until it has written {DEFAULT_PROFILE}."
    elif "dev" in plugins.installed().names:
        started = ", or start one here: doctrain dev"
    else:
        return "Give --address HOST:PORT or set DOCTRAIN_ADDRESS."
    return f"Give --address HOST:PORT, set DOCTRAIN_ADDRESS{started}"


def _read_profile(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    named = environment.get(PROFILE_VARIABLE)
    path = Path(named) if named else folder / DEFAULT_PROFILE
    if not named and not path.is_file():
        return {}
    try:
        with opened(path) as file:
            profile = json.load(file)
    except (OSError, ValueError) as error:
        raise click.UsageError(f"The profile {path} cannot be read: {error}") from error
    if not isinstance(profile, dict):
        raise click.UsageError(f"The profile {path} is not a JSON object.")
    return {str(key): str(value) for key, value in profile.items() if value}
