"""How many fields a message has, told from its bytes before it is decoded. Pure.

Bytes cost little and fields cost much: an empty document has two bytes and takes a hundred once it is decoded, and millions of them are a
few KB while they are compressed (docs/adr/0035). So what may be too many is counted first, no further than to one more than there may be.

Counted is each occurrence of a field, known or not, those of the messages within it too, and each element of a packed one. A pair of a map
is one field; what stands in it beside a key and a value is counted where the pair has room for much.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

Further = Callable[[bytes, int, int, int], int]
"""How many fields more than one there are from a place to an end; a number larger than a most is as good as another."""

_DELIMITED = 2
_LONGEST_NUMBER = 10
_SHORT_PAIR_BYTES = 64
_GOES_ON = bytes(range(0x80, 0x100))
"""The bytes of a number that are not its last."""
_FIXED_BYTES = {
    **dict.fromkeys((FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FIXED64, FieldDescriptor.TYPE_SFIXED64), 8),
    **dict.fromkeys((FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_FIXED32, FieldDescriptor.TYPE_SFIXED32), 4),
}
_WHOLE = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)


def _none(_data: bytes, _start: int, _end: int, _most: int) -> int:
    return 0


@dataclass(frozen=True, slots=True)
class _Field:
    """What may stand within one that has a length: nothing in so ``few`` bytes; in more a message, or ``further`` fields."""

    few: int
    message: dict[int, _Field] | None = None
    further: Further = _none


_PLAIN = _Field(2**30 - 1)


def count(data: bytes, kind: Message | type[Message], most: int) -> int:
    """How many fields ``data`` has, which is a message of that kind; of more than ``most`` any number that is larger.

    Raises ValueError for what is no message.
    What it takes for a message need not be one: who decodes it tells that, having found no more fields before the fault.
    """
    try:
        return _count(data, 0, len(data), _fields_of(kind.DESCRIPTOR), most)
    except IndexError as error:
        raise ValueError("The message ends within a field.") from error


def _count(data: bytes, place: int, end: int, fields: dict[int, _Field], most: int) -> int:
    found = 0
    around: list[tuple[int, dict[int, _Field]]] = []
    while True:
        while place < end and found <= most:
            found += 1
            field = fields.get(data[place])
            place += 1
            if field is None:
                tag, place = _number(data, place - 1)
                if tag & 7 != _DELIMITED:
                    place = _passed(data, place, tag & 7)
                    continue
                field = fields.get(_key(tag), _PLAIN)
            size = data[place]
            place += 1
            if size > 0x7F:
                size, place = _number(data, place - 1)
            if size > field.few and field.message is not None:
                around.append((end, fields))
                end, fields = place + size, field.message
                continue
            if size > field.few:
                found += field.further(data, place, place + size, most)
            place += size
        if found > most or (place == end and not around):
            return found
        if place > end:
            raise ValueError("A field ends outside of its message.")
        end, fields = around.pop()


def _number(data: bytes, place: int) -> tuple[int, int]:
    """That which begins there, and the place after it."""
    number = 0
    for shift in range(_LONGEST_NUMBER):
        byte = data[place + shift]
        number |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return number, place + shift + 1
    raise ValueError("A number has more bytes than any needs.")


def _passed(data: bytes, place: int, wire_type: int) -> int:
    """The place after a number, or after a value of a fixed size."""
    match wire_type:
        case 0:
            return _number(data, place)[1]
        case 1:
            return place + 8
        case 5:
            return place + 4
        case _:
            raise ValueError("A field has a type that proto3 does not have.")


@cache
def _fields_of(message: Any) -> dict[int, _Field]:
    return _made(message, {})


def _made(message: Any, known: dict[str, dict[int, _Field]]) -> dict[int, _Field]:
    """The fields with a length, by their keys; ``known`` are those of messages by their names: one may stand within itself."""
    if (fields := known.get(message.full_name)) is not None:
        return fields
    fields = known[message.full_name] = {}
    for field in message.fields:
        key = _key(field.number << 3 | _DELIMITED)
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            within = _made(field.message_type, known)
            pairs = field.message_type.GetOptions().map_entry
            fields[key] = _Field(_SHORT_PAIR_BYTES, further=_beside_a_pair(within)) if pairs else _Field(0, within)
        else:
            fields[key] = _PLAIN if field.type in _WHOLE else _Field(0, further=_elements(_FIXED_BYTES.get(field.type, 0)))
    return fields


def _key(tag: int) -> int:
    """By which a field is found: its tag, or what is no byte where the tag has several."""
    return tag if tag < 0x80 else -tag


def _beside_a_pair(fields: dict[int, _Field]) -> Further:
    def further(data: bytes, start: int, end: int, most: int) -> int:
        return max(0, _count(data, start, end, fields, most + 2) - 2)

    return further


def _elements(size: int) -> Further:
    """Of packed ones of a size; 0: of numbers."""

    def further(data: bytes, start: int, end: int, _: int) -> int:
        elements = (end - start) // size if size else len(data[start:end].translate(None, _GOES_ON))
        return max(0, elements - 1)

    return further
