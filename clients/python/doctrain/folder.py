"""The documents of a folder, and the manifest that names more of them than one request may carry."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from doctrain.v1 import training_pb2

MAX_INLINE_DOCUMENTS = 10_000
"""Documents that one StartTraining request may name; more go into a manifest."""
ALL_FILES = "**/*"


@dataclass(frozen=True, slots=True)
class Scan:
    """What a folder holds."""

    files: tuple[Path, ...]
    """The files to train, sorted."""
    empty: tuple[Path, ...]
    """Files of no bytes: there is nothing in them to train, and the service refuses them."""


def scan(folder: str | Path, pattern: str = ALL_FILES) -> Scan:
    """Finds the files that match the glob ``pattern``; leaves out hidden files and folders.

    Raises NotADirectoryError or FileNotFoundError with a sentence when there is nothing to find.
    """
    root = Path(folder)
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is not a folder.")
    found = sorted(path for path in root.glob(pattern) if path.is_file() and not _is_hidden(path.relative_to(root)))
    if not found:
        raise FileNotFoundError(f"No file in {root} matches {pattern!r} (hidden files are left out).")
    empty = tuple(path for path in found if path.stat().st_size == 0)
    return Scan(files=tuple(path for path in found if path.stat().st_size > 0), empty=empty)


def describe(root: Path, path: Path, uri: str) -> training_pb2.DocumentInput:
    """The document for a stored file: its id is the path below the folder, so that training it again replaces it."""
    media_type, _ = mimetypes.guess_type(path.name)
    return training_pb2.DocumentInput(document_id=path.relative_to(root).as_posix(), uri=uri, media_type=media_type or "")


def manifest(documents: Iterable[training_pb2.DocumentInput]) -> bytes:
    """The same documents as JSON lines. They must have URIs: a manifest carries no bytes of documents."""
    lines = []
    for document in documents:
        if not document.uri:
            raise ValueError(f"The document {document.document_id!r} has no URI, so it cannot be in a manifest; upload its bytes first.")
        line: dict[str, object] = {"document_id": document.document_id, "uri": document.uri}
        if document.media_type:
            line["media_type"] = document.media_type
        if document.metadata:
            line["metadata"] = dict(document.metadata)
        lines.append(json.dumps(line, ensure_ascii=False))
    return ("\n".join(lines) + "\n").encode()


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
