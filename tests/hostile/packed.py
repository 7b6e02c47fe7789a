"""Archives, and documents that are: bombs, archives in archives, entities."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator

from hostile import good
from hostile.document import DAMAGE, LIMITS, MIB, OK, Hostile, hostile
from testkit.office_documents import archive

INNER = {
    "a.docx": "word/document.xml",
    "a.pptx": "ppt/slides/slide1.xml",
    "a.xlsx": "xl/worksheets/sheet1.xml",
    "a.ods": "content.xml",
    "a.odt": "content.xml",
    "a.epub": "c0.xhtml",
}
"""Where the words are of documents that are archives."""

LAUGHS = (
    "<!DOCTYPE l [<!ENTITY a0 'laugh'>"
    + "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 12))
    + "<!ENTITY x SYSTEM 'file:///etc/passwd'>]>"
)
"""A DOCTYPE whose ``&a11;`` is a hundred billion laughs, and whose ``&x;`` is a file."""


def encrypted() -> Iterator[Hostile]:
    """A locked Office document, a locked member."""
    locked = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504) + "EncryptedPackage".encode("utf-16-le") + bytes(999)
    yield hostile("encrypted", "locked.docx", locked, "ENCRYPTED")
    packed = bytearray(archive({"a.txt": "secret words"}))
    for place in (6, packed.index(b"PK\x01\x02") + 8):  # the flag of both of a member's heads
        packed[place] |= 1
    yield hostile("encrypted", "locked.zip", bytes(packed), "ENCRYPTED")


def bombs() -> Iterator[Hostile]:
    """What unpacks to a thousand times its size, or to more members than there are grains of sand."""
    for name, inner in INNER.items():
        bomb = _changed(good.documents_by_name()[name], inner, _spaces(100))
        yield hostile("zip bomb", name, bomb, LIMITS)
        yield hostile("zip bomb", f"lying {name}", _lying(bomb), LIMITS, DAMAGE, OK)
    yield hostile("zip bomb", "zeros.zip", _changed(archive({"zeros.txt": ""}), "zeros.txt", _spaces(100)), LIMITS)
    yield hostile("zip bomb", "many.zip", archive({f"{n}.txt": "" for n in range(3000)}), LIMITS)
    office = {"[Content_Types].xml": "", "word/document.xml": ""}
    yield hostile("zip bomb", "many.docx", archive({**office, **{str(n): "" for n in range(25_000)}}), LIMITS)


def nested() -> Iterator[Hostile]:
    """Archives and mails within one another."""
    content = b"innermost words"
    for depth in range(30):
        content = archive({f"{depth}.{'zip' if depth else 'txt'}": content}, packed=True)
    yield hostile("nested archives", "russian.zip", content, LIMITS)
    bomb = archive({f"{n}.txt": bytes(4 * MIB) for n in range(10)}, packed=True)
    for depth in range(3):
        bomb = archive({f"{depth}-{n}.zip": bomb for n in range(10)}, packed=True)
    yield hostile("nested archives", "wide.zip", bomb, LIMITS, DAMAGE)
    yield hostile("nested archives", "gzip.zip", archive({"a.tar.gz": gzip.compress(b"no tar at all")}), OK)
    zeros = bytes(100 * MIB)
    for name, bomb in (("gz", gzip.compress(zeros, 1)), ("bz2", bz2.compress(zeros)), ("xz", lzma.compress(zeros, preset=0))):
        yield hostile("nested archives", f"zeros {name}.zip", archive({f"a.{name}": bomb}), LIMITS)
    for depth in (3, 40, 2000):
        mail = b"From: a@b\n\nInnermost.\n"
        for _ in range(depth):
            mail = b"From: a@b\nContent-Type: message/rfc822\n\n" + mail
        yield hostile("nested archives", f"{depth}.eml", mail, OK, LIMITS, DAMAGE)


def entities() -> Iterator[Hostile]:
    """Entities that grow, and that lead out of the document."""
    for label, entity, unwanted in (("laughs", "&a11;", "laugh" * 99), ("files", "&x;", "root:")):
        texts = {
            "xml": "<?xml version='1.0'?>{}<l>Words {}</l>",
            "html": "<?xml version='1.0'?>{}<html><body><p>Words {}</p></body></html>",
        }
        for ending, text in texts.items():
            content = text.format(LAUGHS, entity).encode()
            yield hostile("entities", f"{label}.{ending}", content, OK, DAMAGE, LIMITS, unwanted=unwanted)
        for name, inner in INNER.items():

            def with_entity(xml: bytes, entity: str = entity) -> bytes:
                head, mark, rest = xml.rpartition(b"?>")
                return head + mark + LAUGHS.encode() + rest.replace(b"register", entity.encode())

            content = _changed_to(good.documents_by_name()[name], inner, with_entity)
            yield hostile("entities", f"{label} {name}", content, OK, DAMAGE, LIMITS, unwanted=unwanted)


def odd_names() -> Iterator[Hostile]:
    """Members whose names lead elsewhere, or are none."""
    names = [
        "../../../etc/passwd",
        "/etc/passwd",
        "C:\\windows\\system.ini",
        "a\0b.txt",
        "con",
        "x" * 60_000,
        "\u202etxt.exe",
        "a/" * 5000 + "b",
    ]
    for number, name in enumerate(names):
        yield hostile("odd names", f"{number}.zip", archive({name: "Words of a member."}), OK, unwanted="root:")
    link = zipfile.ZipInfo("link.txt")
    link.external_attr = 0o120777 << 16
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr(link, "/etc/passwd")
    yield hostile("odd names", "link.zip", out.getvalue(), OK, DAMAGE, unwanted="root:")


def loops() -> Iterator[Hostile]:
    """Members of less than no bytes, which lead a reader back, and of more than there are: for some versions of the library the end."""
    good_one, end = _tar_member("a.txt", b"Words of a member."), bytes(2 * tarfile.BLOCKSIZE)
    ends = {
        "unknown kind": _tar_member("z", kind=b"Z", size=-512),
        "file": _tar_member("z.txt", size=-512),
        "to the first": _tar_member("z", kind=b"Z", size=-1536),
        "folder": _tar_member("z", kind=b"5", size=-512),
        "long name": _tar_member("z", kind=b"L", size=-512),
        "in words": _tar_member("z", b"13 size=-512\n", kind=b"x") + _tar_member("z.txt", b"Words."),
        "huge": _tar_member("z", kind=b"Z", size=(1 << 95) | (1 << 70)),
    }
    for name, last in ends.items():
        yield hostile("loops", f"{name}.tar", good_one + last + end, OK, DAMAGE)
    yield hostile("loops", "alone.tar", ends["unknown kind"] + end, DAMAGE)
    yield hostile("loops", "tar.zip", archive({"a.tar": good_one + ends["unknown kind"] + end}), OK, DAMAGE)


def _tar_member(name: str, content: bytes = b"", *, kind: bytes = tarfile.REGTYPE, size: int | None = None) -> bytes:
    """A member; ``size`` is what it says of its size, which may be false."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(content)
    head = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    if size is not None:
        head[124:136] = (size % (1 << 96)).to_bytes(12, "big")
        head[148:156] = b" " * 8
        head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + content + bytes(-len(content) % tarfile.BLOCKSIZE)


def _spaces(mebibytes: int) -> Callable[[bytes], Iterator[bytes]]:
    def spaces(content: bytes) -> Iterator[bytes]:
        yield content
        for _ in range(mebibytes):
            yield b" " * MIB

    return spaces


def _changed_to(content: bytes, inner: str, change: Callable[[bytes], bytes]) -> bytes:
    return _changed(content, inner, lambda said: iter([change(said)]))


def _changed(content: bytes, inner: str, change: Callable[[bytes], Iterator[bytes]]) -> bytes:
    """The archive with one of its members changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for member in old.infolist():
            made = zipfile.ZipInfo(member.filename)
            made.compress_type = zipfile.ZIP_STORED if member.filename == "mimetype" else zipfile.ZIP_DEFLATED
            with new.open(made, "w") as file:
                for piece in change(old.read(member)) if member.filename == inner else [old.read(member)]:
                    file.write(piece)
    return out.getvalue()


def _lying(content: bytes) -> bytes:
    """The archive, whose directory says that each member is small."""
    changed = bytearray(content)
    at = changed.find(b"PK\x01\x02")
    while at >= 0:
        (size,) = struct.unpack("<I", changed[at + 24 : at + 28])
        changed[at + 24 : at + 28] = struct.pack("<I", min(1000, size))
        at = changed.find(b"PK\x01\x02", at + 4)
    return bytes(changed)
