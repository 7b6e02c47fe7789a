"""A mail as Outlook stores it (MSG): a compound file with a stream a property. Only what readers of it look at."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

_SECTOR = 512
_MINI = 64
_FREE, _END, _FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
_TEXT, _BYTES, _NUMBER = 0x001F, 0x0102, 0x0003


@dataclass
class _Entry:
    name: str
    content: bytes = b""
    inner: list[_Entry] = field(default_factory=list)
    is_folder: bool = False


def msg(subject: str, body: str, attachments: Sequence[tuple[str, bytes]] = ()) -> bytes:
    """A mail with a plain body."""
    root = _Entry("Root Entry", is_folder=True)
    root.inner = [*_properties({0x0037: subject, 0x1000: body}, struct.pack("<8x4I8x", 0, len(attachments), 0, len(attachments)))]
    for number, (name, content) in enumerate(attachments):
        held = _properties({0x3707: name, 0x3701: content}, bytes(8), {0x3705: 1})
        root.inner.append(_Entry(f"__attach_version1.0_#{number:08X}", inner=held, is_folder=True))
    return _compound(root)


def _properties(said: dict[int, str | bytes], head: bytes, numbers: dict[int, int] | None = None) -> list[_Entry]:
    entries = [_Entry("__properties_version1.0", head)]
    for number, value in said.items():
        kind, content = (_TEXT, value.encode("utf-16-le")) if isinstance(value, str) else (_BYTES, value)
        entries.append(_Entry(f"__substg1.0_{number:04X}{kind:04X}", content))
        entries[0].content += struct.pack("<HHIII", kind, number, 6, len(content) + (2 if kind == _TEXT else 0), 0)
    for number, count in (numbers or {}).items():
        entries[0].content += struct.pack("<HHIII", _NUMBER, number, 6, count, 0)
    return entries


def _compound(root: _Entry) -> bytes:
    """The file: streams below 4,096 bytes in the mini stream, others in sectors of their own."""
    entries = [root]
    children: list[tuple[int, list[int]]] = []
    for place, entry in enumerate(entries):  # grows as folders are met
        if entry.is_folder:
            first = len(entries)
            entries += entry.inner
            children.append((place, sorted(range(first, len(entries)), key=lambda at: (len(entries[at].name), entries[at].name.upper()))))
    mini, mini_fat, sectors, fat = bytearray(), list[int](), list[bytes](), list[int]()
    starts = dict[int, int]()
    for place, entry in enumerate(entries):
        if entry.is_folder:
            continue
        if len(entry.content) < 4096:
            starts[place] = _chain(mini_fat, -(-len(entry.content) // _MINI))
            mini += entry.content.ljust(-(-len(entry.content) // _MINI) * _MINI, b"\0")
        else:
            starts[place] = _sectors(sectors, fat, entry.content)
    starts[0] = _sectors(sectors, fat, bytes(mini)) if mini else _END
    links = {parent: (inner[0] if inner else _FREE) for parent, inner in children}
    nexts = {at: after for _, inner in children for at, after in zip(inner, [*inner[1:], _FREE], strict=True)}
    directory = b"".join(
        _directory(entry, links.get(at, _FREE), nexts.get(at, _FREE), starts.get(at, _END), len(mini) if at == 0 else len(entry.content))
        for at, entry in enumerate(entries)
    )
    directory_at = _sectors(sectors, fat, directory.ljust(-(-len(directory) // _SECTOR) * _SECTOR, b"\0"))
    mini_fat_at = _sectors(sectors, fat, struct.pack(f"<{len(mini_fat)}I", *mini_fat)) if mini_fat else _END
    mini_fat_count = -(-len(mini_fat) * 4 // _SECTOR)
    fat_count = -(-(len(fat) + 1) * 4 // _SECTOR)
    fat_at = len(sectors)
    fat += [_FAT] * fat_count
    table = struct.pack(f"<{len(fat)}I", *fat).ljust(fat_count * _SECTOR, b"\xff")
    header = (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
        + bytes(16)
        + struct.pack("<5H6x9I", 0x3E, 3, 0xFFFE, 9, 6, 0, fat_count, directory_at, 0, 4096, mini_fat_at, mini_fat_count, _END, 0)
    )
    header += struct.pack(f"<{fat_count}I", *range(fat_at, fat_at + fat_count))
    return header.ljust(_SECTOR, b"\xff") + b"".join(sectors) + table


def _chain(table: list[int], count: int) -> int:
    first = len(table)
    table += [*range(first + 1, first + count), _END] if count else []
    return first if count else _END


def _sectors(sectors: list[bytes], fat: list[int], content: bytes) -> int:
    cut = [content[at : at + _SECTOR].ljust(_SECTOR, b"\0") for at in range(0, len(content), _SECTOR)]
    sectors += cut
    return _chain(fat, len(cut))


def _directory(entry: _Entry, child: int, right: int, start: int, size: int) -> bytes:
    name = entry.name.encode("utf-16-le")
    kind = 5 if entry.name == "Root Entry" else 1 if entry.is_folder else 2
    return struct.pack("<64sHBB3I36xIQ", name, len(name) + 2, kind, 1, _FREE, right, child, start, size)
