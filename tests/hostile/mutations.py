"""Good documents with something changed, by a seed: bytes, runs of bytes, numbers, parts taken out, doubled or swapped."""

from __future__ import annotations

import random
from collections.abc import Iterator

from hostile import good

_NUMBERS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"99999999", b"-1", b"1e99", b"\x01\0\0\0")


def mutations(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """So many of them: the name of the document each was made of, and its bytes."""
    chance = random.Random(seed)
    found = list(good.documents_by_name().items())
    for number in range(count):
        name, content = found[number % len(found)]
        changed = bytearray(content)
        for _ in range(chance.choice((1, 1, 2, 4, 16))):
            _change(changed, chance)
        yield name, bytes(changed)


def _change(content: bytearray, chance: random.Random) -> None:
    size = len(content)
    at = chance.randrange(size) if size else 0
    length = min(chance.choice((1, 2, 4, 16, 64, 512)), size - at)
    match chance.randrange(7):
        case 0 if size:
            content[at] ^= 1 << chance.randrange(8)
        case 1:
            content[at : at + length] = chance.randbytes(length)
        case 2:
            del content[at : at + length]
        case 3:
            content[at:at] = content[at : at + length] * chance.choice((1, 2, 50))
        case 4:
            content[at : at + 4] = chance.choice(_NUMBERS)
        case 5:
            other = chance.choice(list(good.documents_by_name().values()))
            place = chance.randrange(len(other))
            content[at:at] = other[place : place + length]
        case _:
            del content[at + chance.randrange(1, 4096) :]
