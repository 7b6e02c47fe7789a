"""A module's SQL stands beside it: every statement there is loaded by name, and no name twice."""

from __future__ import annotations

import sys
from enum import IntEnum, nonmember
from pathlib import Path

import pytest

from doctrain_mesh.postgres import statements


class Light(IntEnum):
    RED = 1
    GREEN = 3
    CLEAR = nonmember((GREEN, 4))


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "some_package").mkdir()
    (tmp_path / "some_package" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "some_package", raising=False)
    return tmp_path / "some_package" / "some.sql"


def test_statements_are_found_by_name(file: Path) -> None:
    file.write_text("-- name: one\nselect 1;\n\n-- name: two\n-- Says why.\nselect 2\n")
    assert statements.of("some_package.some") == {"one": "select 1", "two": "-- Says why.\nselect 2"}
    file.write_text("-- name: one\nselect 1\n-- name: one\nselect 2\n")
    with pytest.raises(ValueError, match="twice"):
        statements.of("some_package.some")


def test_numbers_are_filled_in_by_their_names(file: Path) -> None:
    file.write_text("-- name: one\nselect 1::int where light = :Light.RED or light in (:Light.CLEAR)\n")
    assert statements.of("some_package.some", Light) == {"one": "select 1::int where light = 1 or light in (3, 4)"}


@pytest.mark.parametrize("named", ["Light.BLUE", "Lamp.RED", "Light.__doc__", "Light.name"])
def test_a_number_that_no_enum_names_is_refused(file: Path, named: str) -> None:
    file.write_text(f"-- name: one\nselect :{named}\n")
    with pytest.raises(ValueError, match=rf"some\.sql of some_package .*: {named}\."):
        statements.of("some_package.some", Light)
