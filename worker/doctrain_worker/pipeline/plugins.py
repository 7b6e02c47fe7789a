"""Which functions the stages are: ours, unless a setting names another's.

``DOCTRAIN_STAGE_READ`` (and ``FETCH``, ``CHUNK``, ``EMBED``, ``INDEX``) holds ``package.module:attribute`` or the name
of an entry point of the group ``doctrain.stages``. What each must take and answer stands at ours:

- fetch: ``async (tenant_id, uri, max_bytes) -> bytes``, in the worker (``doctrain_mesh.sources.Sources.get``)
- read: ``pipeline.read.read``, in a sandboxed child
- chunk: ``pipeline.chunk.chunk``, in the same child
- embed: ``pipeline.embed.minilm``, in a child of its own
- index: ``pipeline.index.index``, in the worker
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, cast

from doctrain_mesh.errors import ConfigurationError
from doctrain_worker.pipeline.processor import Processor

STAGES_GROUP = "doctrain.stages"
PROCESSORS_GROUP = "doctrain.processors"
_PREFIX = "DOCTRAIN_STAGE_"


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages as ``package.module:attribute``; an empty ``fetch`` is the worker's own sources."""

    fetch: str = ""
    read: str = "doctrain_worker.pipeline.read:read"
    chunk: str = "doctrain_worker.pipeline.chunk:chunk"
    embed: str = "doctrain_worker.pipeline.embed:minilm"
    index: str = "doctrain_worker.pipeline.index:index"


def stages(environment: Mapping[str, str]) -> Stages:
    """The stages that the environment chooses. Raises ConfigurationError."""
    chosen = {}
    for variable, value in environment.items():
        if not variable.startswith(_PREFIX) or not value:
            continue
        stage = variable.removeprefix(_PREFIX).lower()
        if stage not in Stages.__dataclass_fields__:
            raise ConfigurationError(f"{variable} names no stage; there are {', '.join(Stages.__dataclass_fields__)}.")
        chosen[stage] = reference(variable, value, STAGES_GROUP)
    return Stages(**chosen)


def reference(variable: str, value: str, group: str) -> str:
    """``package.module:attribute`` of what a setting names. Raises ConfigurationError when there is nothing of that name."""
    if ":" in value:
        return value
    found = {point.name: point.value for point in entry_points(group=group)}
    if value not in found:
        known = f"; installed are {', '.join(sorted(found))}" if found else ""
        raise ConfigurationError(f"{variable} is {value!r}, but no entry point of {group} has that name{known}.")
    return found[value]


def load(variable: str, value: str) -> Any:
    """The object behind ``package.module:attribute``. Raises ConfigurationError that says what is wrong with it."""
    module, _, attribute = value.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"{variable} is {value!r}, which cannot be loaded: {error}.") from error


def processor(variable: str, value: str) -> Processor:
    """A processor that replaces the whole pipeline, such as a benchmark's: an object with ``process``, or a class of such."""
    found = load(variable, reference(variable, value, PROCESSORS_GROUP))
    made = found() if isinstance(found, type) else found
    if not callable(getattr(made, "process", None)):
        raise ConfigurationError(f"{variable} is {value!r}, which has no method `process`.")
    return cast("Processor", made)
