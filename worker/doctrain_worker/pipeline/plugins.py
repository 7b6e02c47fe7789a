"""Which functions the stages are: ours, unless a setting names another's (docs/howto/replace-a-stage.md).

The settings ``stage_fetch``, ``stage_read``, ``stage_chunk`` and ``stage_index`` hold
``package.module:attribute`` or the name of an entry point of the group ``doctrain.stages``. What each must take and answer
stands at ours; the model that embeds is chosen by ``embedding`` (``doctrain_mesh.embedding.choice``):

- fetch: ``async (tenant_id, uri, max_bytes, make_room) -> bytes``, in the worker (``doctrain_mesh.documents.sources.Sources.get``)
- read: ``pipeline.child.read.read``, in a sandboxed child
- chunk: ``pipeline.child.chunk.chunk``, in the same child
- index: ``pipeline.index.index``, in the worker
"""

from __future__ import annotations

import dataclasses
import importlib.util
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, cast

from doctrain_mesh.errors import ConfigurationError
from doctrain_mesh.settings import Settings
from doctrain_worker.pipeline.processor import Processor

STAGES_GROUP = "doctrain.stages"
PROCESSORS_GROUP = "doctrain.processors"


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages as ``package.module:attribute``; an empty ``fetch`` is the worker's own sources."""

    fetch: str = ""
    read: str = "doctrain_worker.pipeline.child.read:read"
    chunk: str = "doctrain_worker.pipeline.child.chunk:chunk"
    index: str = "doctrain_worker.pipeline.index:index"


def stages(settings: Settings) -> Stages:
    """The stages that the settings choose. Raises ConfigurationError."""
    chosen = {stage.name: getattr(settings, f"stage_{stage.name}") for stage in dataclasses.fields(Stages)}
    return Stages(**{name: _stage(f"DOCTRAIN_STAGE_{name.upper()}", value) for name, value in chosen.items() if value})


def _stage(variable: str, value: str) -> str:
    """Looks for it without importing it, which is for the child that runs it: its libraries may not be safe elsewhere."""
    found = reference(variable, value, STAGES_GROUP)
    module = found.partition(":")[0]
    try:
        missing = importlib.util.find_spec(module) is None
    except (ImportError, ValueError):
        missing = True
    if missing:
        raise ConfigurationError(f"{variable} is {value!r}, but there is no module {module!r}; write it as package.module:attribute.")
    return found


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
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{variable} is {value!r}, which cannot be loaded: {error}. Install its package, or name the folder it is in in PYTHONPATH."
        ) from error
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"{variable} is {value!r}, which cannot be loaded: {error}.") from error


def processor(variable: str, value: str) -> Processor:
    """A processor that replaces the whole pipeline, such as a benchmark's: an object with ``process``, or a class of such."""
    found = load(variable, reference(variable, value, PROCESSORS_GROUP))
    made = found() if isinstance(found, type) else found
    if not callable(getattr(made, "process", None)):
        raise ConfigurationError(f"{variable} is {value!r}, which has no method `process`.")
    return cast("Processor", made)
