"""Why a line of a manifest is no document, in a sentence; asked only of lines that the fast decoder has refused."""

from __future__ import annotations

import json
from typing import Any

FIELDS = ("document_id", "uri", "media_type", "metadata")
_REQUIRED = ("document_id", "uri")
_SHOWN = 64
_WANTED = 'A line looks like {"document_id": "1", "uri": "s3://bucket/1.pdf"}.'


def fault_of(text: bytes) -> str:
    """What is wrong with the line."""
    try:
        line = text.decode()
    except UnicodeDecodeError as error:
        return f"It is not UTF-8 (byte {error.start + 1})."
    try:
        content = json.loads(line)
    except json.JSONDecodeError as error:
        return f"It is not JSON (character {error.colno}). {_WANTED}"
    except (ValueError, RecursionError):
        return f"It is not the JSON of a document. {_WANTED}"
    if not isinstance(content, dict):
        return f"It is JSON, but not an object. {_WANTED}"
    return _fault_of_object(content)


def _fault_of_object(content: dict[str, Any]) -> str:
    for name in _REQUIRED:
        if name not in content:
            return f"It has no {name}. {_WANTED}"
    for name in content:
        if name not in FIELDS:
            return f"It has the unknown field {name[:_SHOWN]!r}; a document has {', '.join(FIELDS[:-1])} and {FIELDS[-1]}."
    for name in FIELDS[:-1]:
        if not isinstance(content.get(name, ""), str):
            return f"Its {name} is not text."
    metadata = content.get("metadata", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        return "Its metadata is not an object whose values are all text."
    return f"It is not the JSON of a document. {_WANTED}"
