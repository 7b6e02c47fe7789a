"""Where the command line connects to, and as whom."""

import json
import os
from pathlib import Path

import click
import pytest

from doctrain import AsyncClient
from doctrain.cli.connection import Access, Connection, resolve
from doctrain.errors import UsageError

PROFILE = {"address": "localhost:7700", "tenant_key": "tenants", "operator_key": "operators"}


def resolved(
    folder: Path,
    access: Access = Access.TENANT,
    *,
    address: str | None = None,
    api_key: str | None = None,
    ca: str | None = None,
    **env: str,
) -> Connection:
    return resolve(access, address=address, api_key=api_key, ca=ca, environment=env, folder=folder)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder in which `doctrain dev` ran."""
    (tmp_path / "doctrain-data").mkdir()
    (tmp_path / "doctrain-data/client.json").write_text(json.dumps(PROFILE))
    return tmp_path


def test_the_profile_of_dev_is_found_and_each_command_takes_its_key(home: Path) -> None:
    assert resolved(home) == Connection("localhost:7700", "tenants", None)
    assert resolved(home, Access.OPERATOR) == Connection("localhost:7700", "operators", None)


def test_a_named_profile_goes_before_the_found_one(home: Path) -> None:
    other = home / "other.json"
    other.write_text(json.dumps({"address": "there:1", "tenant_key": "k", "ca": "system"}))
    assert resolved(home, DOCTRAIN_PROFILE=str(other)) == Connection("there:1", "k", "system")


def test_options_go_before_the_profile(home: Path) -> None:
    assert resolved(home, api_key="mine").api_key == "mine"
    assert resolved(home, address="localhost:7700").api_key == "tenants"


def test_the_keys_of_a_profile_go_to_no_other_address(home: Path) -> None:
    with pytest.raises(click.UsageError, match="No API key"):
        resolved(home, address="elsewhere:7700")
    assert resolved(home, address="elsewhere:7700", api_key="k") == Connection("elsewhere:7700", "k", None)


def test_white_space_is_no_key_and_an_empty_one_is_never_replaced(home: Path) -> None:
    assert resolved(home, api_key=" mine\n").api_key == "mine"
    assert resolved(home, api_key="  ").api_key == ""
    assert resolved(home, DOCTRAIN_API_KEY="").api_key == ""
    assert resolved(home, api_key="mine", DOCTRAIN_API_KEY="").api_key == "mine"


def test_what_is_missing_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match=r"DOCTRAIN_ADDRESS.*doctrain dev"):
        resolved(tmp_path)
    with pytest.raises(click.UsageError, match=r"an operator's by --api-key"):
        resolved(tmp_path, Access.OPERATOR, address="a:1")
    with pytest.raises(click.UsageError, match=r"CA file .* does not exist"):
        resolved(tmp_path, address="a:1", api_key="k", ca=str(tmp_path / "none.pem"))
    with pytest.raises(click.UsageError, match=r"The profile .* cannot be read"):
        resolved(tmp_path, DOCTRAIN_PROFILE=str(tmp_path / "none.json"))
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(click.UsageError, match="is not a JSON object"):
        resolved(tmp_path, DOCTRAIN_PROFILE=str(tmp_path / "list.json"))


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(click.UsageError, match=r"CA file .* is no regular file"):
        resolved(tmp_path, address="a:1", api_key="k", ca=str(pipe))
    with pytest.raises(click.UsageError, match=r"The profile .* cannot be read: .*It is no regular file"):
        resolved(tmp_path, DOCTRAIN_PROFILE=str(pipe))
    with pytest.raises(UsageError, match=r"The CA file .* cannot be read: It is no regular file\."):
        AsyncClient("a:1", api_key="k", ca=pipe)
