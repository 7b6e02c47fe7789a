"""JSON, and JSON lines: each value in a line with its path, so that a search finds both its name and what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from doctrain_worker.pipeline.child import encoding
from doctrain_worker.pipeline.child.formats.content import Content
from doctrain_worker.pipeline.child.source import Source
from doctrain_worker.sandbox.child.refusal import Refusal
from doctrain_worker.text.blocks import Block, Kind


def read(source: Source) -> Content:
    """One block for each entry of the outermost list or object, or for each line."""
    text = encoding.decode(source.content, source.charset)
    try:
        return Content(_blocks(json.loads(text)))
    except RecursionError:
        raise Refusal(
            "TOO_DEEP", "The document's values are within one another too deeply; save it in a flatter form.", resource=True
        ) from None
    except ValueError:
        return Content(_lines(text))


def _lines(text: str) -> Iterator[Block]:
    """JSON lines; a line that is none is told as it stands."""
    for line in filter(str.strip, text.split("\n")):
        try:
            yield _block(json.loads(line), "")
        except (ValueError, RecursionError):
            yield Block(Kind.PARAGRAPH, line.strip())


def _blocks(value: Any) -> Iterator[Block]:
    if isinstance(value, dict):
        yield from (_block(entry, str(name)) for name, entry in value.items())
    elif isinstance(value, list):
        yield from (_block(entry, "") for entry in value)
    else:
        yield _block(value, "")


def _block(value: Any, path: str) -> Block:
    return Block(Kind.PARAGRAPH, encoding.clean("\n".join(_leaves(value, path))))


def _leaves(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, entry in value.items():
            yield from _leaves(entry, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for entry in value:
            yield from _leaves(entry, path)
    elif value is not None and value != "":
        yield f"{path}: {value}" if path else str(value)
