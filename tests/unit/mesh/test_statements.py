"""A module's SQL stands beside it: every statement there is loaded by name, and no name twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from doctrain_mesh.postgres import statements


def test_statements_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_package").mkdir()
    (tmp_path / "some_package" / "__init__.py").touch()
    file = tmp_path / "some_package" / "some.sql"
    monkeypatch.syspath_prepend(str(tmp_path))
    file.write_text("-- name: one\nselect 1;\n\n-- name: two\n-- Says why.\nselect 2\n")
    assert statements.of("some_package.some") == {"one": "select 1", "two": "-- Says why.\nselect 2"}
    file.write_text("-- name: one\nselect 1\n-- name: one\nselect 2\n")
    with pytest.raises(ValueError, match="twice"):
        statements.of("some_package.some")
