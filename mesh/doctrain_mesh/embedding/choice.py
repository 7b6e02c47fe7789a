"""Which model ``DOCTRAIN_EMBEDDING`` names. Pure; in children too, so without the errors of the services.

- ``minilm``: the model that comes with doctrain
- ``onnx:/a/folder``: a model of the operator's own, in a folder that every worker and coordinator has
- ``openai:https://host/v1``: an endpoint that speaks OpenAI's protocol
- ``package.module:attribute``, or an entry point of ``doctrain.models``: a function that makes a ``Model``
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from urllib.parse import urlsplit

from doctrain_mesh.embedding import ModelError

MODELS_GROUP = "doctrain.models"


class Kind(enum.Enum):
    """Where a model comes from."""

    MINILM = "minilm"
    FOLDER = "onnx"
    ENDPOINT = "openai"
    FUNCTION = "function"


@dataclass(frozen=True, slots=True)
class Choice:
    """A model. Written as text again by ``str``, for a child to read.

    Args:
        kind: where it comes from.
        place: the folder, the URL or the function; empty for the model that comes with doctrain.
    """

    kind: Kind
    place: str = ""

    def __str__(self) -> str:
        return self.place if self.kind is Kind.FUNCTION else f"{self.kind.value}:{self.place}".rstrip(":")

    @property
    def reads(self) -> list[str]:
        """The folders, beside programs and libraries, that a process which loads it must be able to read."""
        return [self.place] if self.kind is Kind.FOLDER else []


MINILM = Choice(Kind.MINILM)
"""The model that comes with doctrain."""


def choose(setting: str) -> Choice:
    """The model that a setting names. Raises ModelError when that is none."""
    kind, _, place = setting.partition(":")
    if setting == Kind.MINILM.value:
        return MINILM
    if kind == Kind.FOLDER.value:
        if not place.startswith("/"):
            raise ModelError(f"{setting!r} names no folder; write onnx: and its whole path, which begins with /.")
        return Choice(Kind.FOLDER, place.rstrip("/"))
    if kind == Kind.ENDPOINT.value:
        _check_url(setting, place)
        return Choice(Kind.ENDPOINT, place.rstrip("/"))
    if place:
        return Choice(Kind.FUNCTION, setting)
    from importlib.metadata import entry_points  # every process reads the settings, and few name a model in this way

    found = {point.name: point.value for point in entry_points(group=MODELS_GROUP)}
    if setting not in found:
        names = ", ".join(["minilm", *sorted(found)])
        raise ModelError(f"{setting!r} is no model; choose {names}, onnx:/folder, openai:https://host/v1 or package.module:attribute.")
    return Choice(Kind.FUNCTION, found[setting])


def _check_url(setting: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("https", "http") and bool(parts.hostname) and (parts.port or 1) > 0 and not parts.query
    except ValueError:
        good = False
    if not good:
        raise ModelError(f"{setting!r} names no endpoint; write openai: and its base URL, such as openai:https://host/v1.")
    if parts.username is not None:
        raise ModelError("The URL of the embedding endpoint holds a name or a password; put the key in DOCTRAIN_EMBEDDING_KEY.")
