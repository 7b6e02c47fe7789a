"""Archives, ZIP and tar, and what is compressed by itself: their members as parts.

Nothing is unpacked to a file, so a member's path is no more than its name.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Iterator

from doctrain_worker.pipeline.child import media
from doctrain_worker.pipeline.child.formats import zipped
from doctrain_worker.pipeline.child.formats.content import Attached, Content
from doctrain_worker.pipeline.child.source import Source
from doctrain_worker.sandbox.child.refusal import Refusal

_LOCKED = 0x1
_ENDINGS = (".gz", ".bz2", ".xz")
_PIECE_BYTES = 1 << 16
_NO_MEMBER = "Not a gzipped file"
"""So begins what ``gzip`` says of bytes in the place of a member."""


def read_zip(source: Source) -> Content:
    """The members of a ZIP archive. Raises Refusal CORRUPT."""
    with zipped.damage_told():
        archive = zipfile.ZipFile(io.BytesIO(source.content))
    return Content(parts=_zip_members(archive))


def _zip_members(archive: zipfile.ZipFile) -> Iterator[Attached]:
    for member in archive.infolist():
        if not member.is_dir():
            yield _of_zip(archive, member)


def _of_zip(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Attached:
    def load(most: int) -> bytes:
        if member.flag_bits & _LOCKED:
            raise Refusal("ENCRYPTED", "It is protected by a password; pack it again without one.")
        with zipped.damage_told(), archive.open(member) as file:
            return file.read(most + 1)

    return Attached(member.filename, "", load)


def read_tar(source: Source) -> Content:
    """The files in a tar archive, compressed or not; links and devices lead out of it and are left out. Raises Refusal CORRUPT."""
    with zipped.damage_told():
        archive = tarfile.open(fileobj=io.BytesIO(source.content))  # noqa: SIM115 - read from while its parts are
    return Content(parts=_tar_members(archive))


def read_compressed(source: Source) -> Content:
    """The files of a compressed tar archive, or the one file that is compressed. Raises Refusal CORRUPT."""
    with zipped.damage_told(), _unpacked(source) as file:
        head = _read(file, tarfile.BLOCKSIZE)
    try:
        tarfile.TarInfo.frombuf(head, tarfile.ENCODING, "surrogateescape")
    except tarfile.HeaderError:
        return Content(parts=[_compressed(source)])
    return read_tar(source)


def _compressed(source: Source) -> Attached:
    def load(most: int) -> bytes:
        with zipped.damage_told(), _unpacked(source) as file:
            return _read(file, most + 1)

    name, _, ending = source.name.rpartition(".")
    return Attached(name if f".{ending.lower()}" in _ENDINGS else source.name, "", load)


def _unpacked(source: Source) -> gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile:
    stream = io.BytesIO(source.content)
    if source.media_type == media.GZIP:
        return gzip.GzipFile(fileobj=stream)
    return bz2.BZ2File(stream) if source.media_type == media.BZIP2 else lzma.LZMAFile(stream, format=lzma.FORMAT_XZ)


def _read(file: gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile, most: int) -> bytes:
    """Its first bytes. What stands behind the last sound member and is none is left out, as the programs for these files do it."""
    found = bytearray()
    try:
        while len(found) < most and (piece := file.read1(min(_PIECE_BYTES, most - len(found)))):
            found += piece
    except gzip.BadGzipFile as error:
        if not found or not str(error).startswith(_NO_MEMBER):
            raise
    return bytes(found)


def _tar_members(archive: tarfile.TarFile) -> Iterator[Attached]:
    """Its files. Raises Refusal CORRUPT, also for a size that leads back: the library would read the same headers without end."""
    behind = -1
    with zipped.damage_told():
        for member in archive:
            if member.size < 0 or member.offset <= behind:
                raise Refusal("CORRUPT", media.CORRUPT)
            behind = member.offset
            if member.isfile():
                yield _of_tar(archive, member)


def _of_tar(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Attached:
    def load(most: int) -> bytes:
        with zipped.damage_told():
            file = archive.extractfile(member)
            return file.read(most + 1) if file is not None else b""

    return Attached(member.name, "", load)
