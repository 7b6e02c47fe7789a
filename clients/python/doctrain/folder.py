"""The documents of a folder: which files can be trained, which are left out and why, and the manifest that names many.

Everything is decided before the first byte is sent: one odd file is left out and told, and the others go on. Links are
followed to files within the folder only, so that nothing outside it is ever sent.
"""

from __future__ import annotations

import json
import mimetypes
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from doctrain.errors import UsageError
from doctrain.v1 import training_pb2

MAX_INLINE_DOCUMENTS, MAX_INLINE_FIELDS, MAX_INLINE_BYTES = 10_000, 200_000, 64 * 2**20
"""Documents, fields and bytes of one StartTraining request to a service that is older and does not tell what it takes."""
BESIDE_FIELDS, BESIDE_BYTES = 8, 2**10
"""More than such a request has beside its documents."""
FRAME_BYTES = 6
"""The most that a document takes in a request beside its own bytes: its key and its length."""
MAX_NAME_BYTES = 512
"""The service takes no longer ids, and a document's id is its path below the folder."""
ALL_FILES = "**/*"
ARCHIVES = ("application/zip", "application/x-tar")
NAMED = 10
"""Skipped files that an error names."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file or folder that is left out."""

    path: Path
    reason: str
    """A sentence."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What is said of every document of a folder, beside what its file tells."""

    prefix: str = ""
    """What their names begin with."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    media_type: str = ""
    """Empty: what the file's name tells."""
    unpack: bool = False
    """Whether archives are to be read."""


NO_LABELS = Labels()


@dataclass(frozen=True, slots=True)
class Scan:
    """What a folder holds, each part sorted."""

    root: Path
    """Documents are named by their path below it, after the prefix."""
    files: tuple[Path, ...]
    """The files to train."""
    skipped: tuple[Skipped, ...]
    """What matches and cannot be trained, and folders that may hold what matches and cannot be looked into."""
    labels: Labels = NO_LABELS


def scan(folder: str | Path, pattern: str = ALL_FILES, labels: Labels = NO_LABELS, *, check: Callable[[], None] = lambda: None) -> Scan:
    """Finds the files of a folder that match the glob ``pattern``; hidden files and folders are left out without a word.

    ``folder`` may also be one file. Documents are named by the labels' prefix and their path, so that files of the same path in several
    folders stay apart. ``check`` is called before each file, and may raise to end it. Raises UsageError when there is no such folder, or
    nothing in it matches.
    """
    root, segments, prefix = Path(folder), _segments(pattern), labels.prefix
    if prefix and _fault_of_name(prefix):
        raise UsageError(f"{_plain(prefix)!r} cannot be the beginning of names: it is too long, or holds what cannot be shown.")
    if not root.exists():
        raise UsageError(f"There is no file or folder {shown(root)}.")
    if not root.is_dir():
        reason = _fault_of_name(prefix + root.name) or _fault_of_content(root)
        return Scan(root.parent, () if reason else (root,), (Skipped(root, reason),) if reason else (), labels)
    found, skipped = list[Path](), list[Skipped]()
    for one in _walk(root, segments, prefix, check):
        if isinstance(one, Skipped):
            skipped.append(one)
        else:
            found.append(one)
    if not found and not skipped:
        raise UsageError(f"No file in {shown(root)} matches {pattern!r} (hidden files are left out).")
    return Scan(root, tuple(sorted(found)), tuple(sorted(skipped, key=lambda one: one.path)), labels)


def refuse(skipped: Sequence[Skipped]) -> UsageError:
    """The error of whoever wants all files or none."""
    lines = [f"  {_plain(shown(one.path))}: {one.reason}" for one in skipped[:NAMED]]
    more = [f"  and {len(skipped) - NAMED} more"] if len(skipped) > NAMED else []
    what = "1 file cannot be trained" if len(skipped) == 1 else f"{len(skipped)} files cannot be trained"
    return UsageError("\n".join([f"{what}, so nothing was started:", *lines, *more]))


def describe(found: Scan, path: Path, uri: str) -> training_pb2.DocumentInput:
    """The document for a stored file: its id is the prefix and the path below the folder, so that training it again replaces it."""
    labels = found.labels
    document_id = labels.prefix + path.relative_to(found.root).as_posix()
    return training_pb2.DocumentInput(document_id=document_id, uri=uri, media_type=_media_type(path, labels), metadata=labels.metadata)


def _media_type(path: Path, labels: Labels) -> str:
    """By its labels or its name; that an archive is to be unpacked is a parameter of it."""
    told, encoding = mimetypes.guess_type(path.name)
    media_type = labels.media_type or told or ""
    if labels.unpack and (labels.media_type or encoding or told in ARCHIVES):
        return f"{media_type or 'application/octet-stream'}; unpack"
    return media_type


def go_inline(documents: Sequence[training_pb2.DocumentInput], limits: training_pb2.GetLimitsResponse) -> bool:
    """Whether one StartTraining request may name them all, by what the service takes; more goes into a manifest.

    Each is a field, and so is all that is said of it.
    """
    if len(documents) > (limits.request_documents or MAX_INLINE_DOCUMENTS):
        return False
    most_fields = limits.request_fields - BESIDE_FIELDS if limits.request_fields else MAX_INLINE_FIELDS
    if sum(4 + len(one.metadata) for one in documents) > most_fields:
        return False
    most_bytes = (limits.request_bytes or MAX_INLINE_BYTES) - BESIDE_BYTES
    return sum(one.ByteSize() + FRAME_BYTES for one in documents) <= most_bytes


def manifest(documents: Iterable[training_pb2.DocumentInput]) -> bytes:
    """The same documents as JSON lines. They must have URIs: a manifest carries no bytes of documents."""
    lines = []
    for document in documents:
        if not document.uri:
            raise UsageError(f"The document {document.document_id!r} has no URI, so it cannot be in a manifest; upload its bytes first.")
        line: dict[str, object] = {"document_id": document.document_id, "uri": document.uri}
        if document.media_type:
            line["media_type"] = document.media_type
        if document.metadata:
            line["metadata"] = dict(document.metadata)
        lines.append(json.dumps(line, ensure_ascii=False))
    return ("\n".join(lines) + "\n").encode()


def shown(path: Path) -> str:
    """The path as text, whatever bytes its name holds."""
    return os.fsencode(path).decode("utf-8", "replace")


def _plain(text: str) -> str:
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _segments(pattern: str) -> tuple[str, ...]:
    path = PurePosixPath(pattern)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise UsageError(f"The pattern {pattern!r} does not stay within the folder; write it relative to the folder, such as '**/*.pdf'.")
    return path.parts


def _walk(root: Path, segments: tuple[str, ...], prefix: str, check: Callable[[], None]) -> Iterator[Path | Skipped]:
    """What matches below ``root``, and folders that cannot be read; in no order."""
    top = os.path.realpath(root)
    waiting: list[tuple[Path, tuple[str, ...]]] = [(root, ())]
    while waiting:
        folder, parts = waiting.pop()
        try:
            with os.scandir(folder) as listing:
                entries = [entry for entry in listing if not entry.name.startswith(".")]
        except OSError as error:
            yield Skipped(folder, f"The folder cannot be read: {error.strerror}.")
            continue
        for entry in entries:
            check()
            path, below = folder / entry.name, (*parts, entry.name)
            if entry.is_dir(follow_symlinks=False):
                if _reaches(below, segments):
                    waiting.append((path, below))
            elif _matches(below, segments) or (entry.is_symlink() and path.is_dir() and _reaches(below, segments)):
                reason = _fault(path, prefix + "/".join(below), top)
                yield path if reason is None else Skipped(path, reason)


def _fault(path: Path, name: str, top: str) -> str | None:
    """Why a file cannot be trained; what a link leads to is looked at only when it is within the folder."""
    return _fault_of_name(name) or (_fault_of_link(path, top) if path.is_symlink() else None) or _fault_of_content(path)


def _fault_of_name(name: str) -> str | None:
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return "Its name is not UTF-8."
    if not name.isprintable():
        return "Its name contains line breaks, tabs or other characters that cannot be shown."
    return f"Its path is longer than {MAX_NAME_BYTES} bytes." if len(encoded) > MAX_NAME_BYTES else None


def _fault_of_link(path: Path, top: str) -> str | None:
    target = os.path.realpath(path)
    if target != top and not target.startswith(top.rstrip("/") + "/"):
        return "It is a link that leads out of the folder."
    if not path.exists():
        return "It is a link to a file that does not exist."
    return "It is a link to a folder; such links are not followed." if path.is_dir() else None


def _fault_of_content(path: Path) -> str | None:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return "It is no regular file."
        if status.st_size == 0:
            return "It is empty."
        with path.open("rb"):
            return None
    except OSError as error:
        return f"It cannot be read: {error.strerror}."


def _matches(parts: tuple[str, ...], segments: tuple[str, ...]) -> bool:
    """Whether a path is one that the pattern means; ``**`` stands for any folders, at the end for all that is in them."""
    if not segments:
        return not parts
    if segments[0] == "**":
        return segments == ("**",) or _matches(parts, segments[1:]) or (bool(parts) and _matches(parts[1:], segments))
    return bool(parts) and fnmatchcase(parts[0], segments[0]) and _matches(parts[1:], segments[1:])


def _reaches(parts: tuple[str, ...], segments: tuple[str, ...]) -> bool:
    """Whether something below the folder ``parts`` may match."""
    if not segments:
        return False
    if not parts or segments[0] == "**":
        return True
    return fnmatchcase(parts[0], segments[0]) and _reaches(parts[1:], segments[1:])
