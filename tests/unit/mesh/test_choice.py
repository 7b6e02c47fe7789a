"""What ``DOCTRAIN_EMBEDDING`` may say."""

from __future__ import annotations

import pytest

from doctrain_mesh import settings
from doctrain_mesh.embedding import ModelError
from doctrain_mesh.embedding.choice import MINILM, Choice, Kind, choose
from doctrain_mesh.errors import ConfigurationError


@pytest.mark.parametrize(
    ("setting", "choice"),
    [
        ("minilm", MINILM),
        ("onnx:/models/e5/", Choice(Kind.FOLDER, "/models/e5")),
        ("openai:https://host:8443/v1/", Choice(Kind.ENDPOINT, "https://host:8443/v1")),
        ("acme.models:make", Choice(Kind.FUNCTION, "acme.models:make")),
    ],
)
def test_each_kind_of_model_has_a_form_that_a_child_can_read_again(setting: str, choice: Choice) -> None:
    assert choose(setting) == choice
    assert choose(str(choice)) == choice


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("mini", "choose minilm"),
        ("onnx:models/e5", "begins with /"),
        ("openai:host/v1", "names no endpoint"),
        ("openai:https://", "names no endpoint"),
        ("openai:https://host:99999/v1", "names no endpoint"),
        ("openai:https://me:secret@host/v1", "DOCTRAIN_EMBEDDING_KEY"),
    ],
)
def test_what_names_no_model_is_told(setting: str, says: str) -> None:
    with pytest.raises(ModelError, match=says) as failed:
        choose(setting)
    assert "secret" not in str(failed.value)
    with pytest.raises(ConfigurationError, match="DOCTRAIN_EMBEDDING"):
        settings.load({"DOCTRAIN_EMBEDDING": setting})


def test_an_endpoint_needs_a_model_and_the_length_of_its_vectors() -> None:
    with pytest.raises(ConfigurationError, match="DOCTRAIN_EMBEDDING_DIMENSIONS"):
        settings.load({"DOCTRAIN_EMBEDDING": "openai:https://host/v1", "DOCTRAIN_EMBEDDING_MODEL": "small"})
