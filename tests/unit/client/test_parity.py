"""The client without asyncio has all that the other one has, with the same arguments."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest

from doctrain import AsyncClient, Client, retry
from doctrain.fleet import AsyncFleet
from doctrain.sync_fleet import Fleet
from doctrain.v1 import fleet_pb2, search_pb2, training_pb2


def public(kind: type[Any]) -> dict[str, Any]:
    return {name: member for name, member in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}


@pytest.mark.parametrize(("of_asyncio", "plain"), [(AsyncClient, Client), (AsyncFleet, Fleet)])
def test_every_public_method_is_there_with_the_same_arguments(of_asyncio: type[Any], plain: type[Any]) -> None:
    wanted, there = public(of_asyncio), public(plain)
    assert wanted.keys() == there.keys()
    for name, method in wanted.items():
        asked, given = inspect.signature(method).parameters, inspect.signature(there[name]).parameters
        assert list(asked) == list(given), name
        assert [(p.kind, p.default) for p in asked.values() if not callable(p.default)] == [
            (p.kind, p.default) for p in given.values() if not callable(p.default)
        ], name


def test_the_constructors_take_the_same_arguments() -> None:
    assert inspect.signature(AsyncClient.__init__).parameters.keys() == inspect.signature(Client.__init__).parameters.keys()


def test_every_call_that_may_be_repeated_is_retried_within_a_channel() -> None:
    config = json.loads(retry.service_config(1))["methodConfig"][0]["name"]
    retried = {(one["service"], one["method"]) for one in config}
    calls = {
        (service.full_name, method.name)
        for file in (training_pb2, search_pb2, fleet_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if not (method.client_streaming or method.server_streaming)
    }
    assert calls - retried == {("doctrain.v1.FleetService", "CreateKey")}
    assert retried <= calls
