"""Which schemas count as the same until the first release."""

from __future__ import annotations

import re
from importlib import resources

from doctrain_coordinator.store.migrate import fingerprint

SCHEMA = "-- Who pays.\ncreate table payer (id int);\n"


def test_a_comment_and_white_space_make_no_other_schema() -> None:
    assert fingerprint(SCHEMA) == fingerprint("create table\n  payer (id int); -- one a row\n\n")


def test_a_column_makes_another_schema() -> None:
    assert fingerprint(SCHEMA) != fingerprint(SCHEMA.replace("id int", "id bigint"))


def test_no_text_in_the_schema_looks_like_a_comment() -> None:
    store = resources.files("doctrain_coordinator.store")
    for name in ("schema.sql", "views.sql", "policies.sql"):
        assert not re.findall("'[^'\n]*--[^'\n]*'", store.joinpath(name).read_text(encoding="utf-8"))
