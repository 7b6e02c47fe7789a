"""Options that take the word for a state, a class or a role, or the name that JSON prints for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

TRAINING_STATES = ("queued", "processing", "completed", "completed_with_failures", "failed", "cancelled")
DOCUMENT_STATES = ("queued", "processing", "completed", "failed", "cancelled")
ERROR_CLASSES = ("permanent", "transient", "resource", "crash")
ROLES = ("tenant", "worker", "operator")
SEARCH_MODES = ("hybrid", "vectors", "words")


class Word(click.Choice[str]):
    """One of some words; ``prefix`` is what the names of the protos have before them."""

    def __init__(self, words: tuple[str, ...], prefix: str) -> None:
        super().__init__(words)
        self._prefix = prefix.lower()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word that was meant."""
        word = str(value).strip().lower().removeprefix(self._prefix).replace("-", "_").replace(" ", "_")
        return str(super().convert(word, param, ctx))


class Pair(click.ParamType[tuple[str, str]]):
    """``KEY=VALUE``."""

    name = "key=value"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """The key and the value."""
        key, equals, content = value.partition("=")
        if not equals or not key:
            self.fail(f"{value!r} is not KEY=VALUE.", param, ctx)
        return key, content


class MediaType(click.ParamType[str]):
    """``type/subtype``, with parameters if need be."""

    name = "type"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The same, if it has that form."""
        kind, slash, subtype = value.partition(";")[0].strip().partition("/")
        if not (kind and slash and subtype):
            self.fail(f"{value!r} is no media type such as text/markdown or application/pdf.", param, ctx)
        return value


def by_key(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The pairs of ``--metadata``; raises click.UsageError for a key of two values, for only one of them would be heeded."""
    found: dict[str, str] = {}
    for key, content in pairs:
        if found.setdefault(key, content) != content:
            raise click.UsageError(f"--metadata: {key!r} has two values, {found[key]!r} and {content!r}; give it one.")
    return found


TRAINING_STATE = Word(TRAINING_STATES, "TRAINING_STATE_")
DOCUMENT_STATE = Word(DOCUMENT_STATES, "DOCUMENT_STATE_")
ERROR_CLASS = Word(ERROR_CLASSES, "ERROR_CLASS_")
ROLE = Word(ROLES, "ROLE_")
SEARCH_MODE = Word(SEARCH_MODES, "SEARCH_MODE_")
PAIR = Pair()
MEDIA_TYPE = MediaType()
