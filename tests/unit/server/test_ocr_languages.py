"""The setting for the languages of OCR."""

from __future__ import annotations

import pytest

from doctrain_mesh.errors import ConfigurationError
from doctrain_mesh.settings import load
from doctrain_server.services.worker import limits_of


@pytest.mark.parametrize("languages", ["deu", "eng+deu"])
def test_languages_that_are_installed_are_those_of_the_worker(languages: str) -> None:
    assert limits_of(load({"DOCTRAIN_OCR_LANGUAGES": languages})).reading.languages == languages


@pytest.mark.parametrize(("languages", "missing"), [("eng+tlh+deu+xx", "'tlh' and 'xx'"), ("eng+", "''")])
def test_a_language_that_is_not_installed_is_named_at_the_start(languages: str, missing: str) -> None:
    with pytest.raises(ConfigurationError) as told:
        limits_of(load({"DOCTRAIN_OCR_LANGUAGES": languages}))
    assert str(told.value).startswith(f"DOCTRAIN_OCR_LANGUAGES is {languages!r}, but tesseract's data of {missing} is in none of /")
    assert "install tesseract-ocr-…" in str(told.value)
