"""What a tenant may say of a document: each check answers why it is refused, in a sentence, or None."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

MAX_DOCUMENT_ID_BYTES = 512
MAX_MEDIA_TYPE_BYTES = 255
MAX_METADATA_PAIRS, MAX_METADATA_KEY_BYTES, MAX_METADATA_VALUE_BYTES, MAX_METADATA_BYTES = 64, 128, 1024, 8 * 1024


def document_id_fault(document_id: str) -> str | None:
    """Why a document's id is refused, in a sentence."""
    if not document_id:
        return "A document needs an id."
    if len(document_id.encode("utf-8", "surrogatepass")) > MAX_DOCUMENT_ID_BYTES:
        return f"The document's id is longer than {MAX_DOCUMENT_ID_BYTES} bytes."
    if not document_id.isprintable():
        return "The document's id contains control characters or others that cannot be shown."
    return None


def metadata_fault(metadata: Mapping[str, str]) -> str | None:
    """Why a document's metadata is refused."""
    if len(metadata) > MAX_METADATA_PAIRS:
        return f"A document has at most {MAX_METADATA_PAIRS} pairs of metadata."
    size = 0
    for key, value in metadata.items():
        key_bytes, value_bytes = len(key.encode()), len(value.encode())
        if not 0 < key_bytes <= MAX_METADATA_KEY_BYTES or not key.isprintable():
            return f"A key of the metadata has 1 to {MAX_METADATA_KEY_BYTES} bytes and no control characters."
        if value_bytes > MAX_METADATA_VALUE_BYTES or "\x00" in value:
            return f"A value of the metadata has at most {MAX_METADATA_VALUE_BYTES} bytes and no NUL character."
        size += key_bytes + value_bytes
    if size > MAX_METADATA_BYTES:
        return f"The metadata of a document has at most {MAX_METADATA_BYTES:,} bytes in all."
    return None


def media_type_fault(media_type: str) -> str | None:
    """Why a claimed media type is refused."""
    if len(media_type.encode()) > MAX_MEDIA_TYPE_BYTES or (media_type and not media_type.isprintable()):
        return f"A media type has at most {MAX_MEDIA_TYPE_BYTES} bytes and no control characters."
    return None


def duplicate_id(document_id: str) -> str:
    """What is wrong with an id that another document of the training has."""
    return f"Duplicate id {json.dumps(document_id, ensure_ascii=False)}; every document of a training needs an id of its own."


def duplicates(ids: Iterable[str]) -> list[str]:
    """The duplicate ids, in the order of their second appearance."""
    seen: set[str] = set()
    twice: dict[str, None] = {}
    for document_id in ids:
        if document_id in seen:
            twice[document_id] = None
        seen.add(document_id)
    return list(twice)
