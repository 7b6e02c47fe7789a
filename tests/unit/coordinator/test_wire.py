"""Fields are counted as decoding finds them, from the bytes alone, and no further than to one more than there may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from doctrain.v1 import search_pb2, training_pb2
from doctrain_coordinator.rpc import wire
from doctrain_mesh.v1 import tracker_pb2

NO_END = 10**9
TEXTS = st.text(max_size=300)
NUMBERS = st.integers(min_value=-(2**31), max_value=2**31 - 1)

documents = st.builds(
    training_pb2.DocumentInput,
    document_id=TEXTS,
    content=st.binary(max_size=300),
    media_type=TEXTS,
    metadata=st.dictionaries(TEXTS, TEXTS, max_size=5),
)
starts = st.builds(
    training_pb2.StartTrainingRequest, training_task_id=TEXTS, documents=st.lists(documents, max_size=5), retrain=st.booleans()
)
retries = st.builds(
    training_pb2.RetryFailedDocumentsRequest, error_classes=st.lists(NUMBERS, max_size=200), document_ids=st.lists(TEXTS, max_size=5)
)
stages = st.builds(tracker_pb2.Stage, name=TEXTS, start_ms=NUMBERS, counts=st.dictionaries(TEXTS, st.integers(0, 2**63 - 1), max_size=3))
blocks = st.builds(
    tracker_pb2.Block,
    sequence=st.integers(-(2**63), 2**63 - 1),
    started=st.lists(NUMBERS, max_size=200),
    passed=st.lists(st.builds(tracker_pb2.DocumentStages, ordinal=NUMBERS, stages=st.lists(stages, max_size=3)), max_size=3),
)
reports = st.builds(tracker_pb2.TrackRequest, blocks=st.lists(blocks, max_size=3))
messages = st.one_of(starts, retries, reports)


def decoded(message: Message) -> int:
    """How many fields decoding found."""
    found = 0
    for field, value in message.ListFields():
        if field.type != field.TYPE_MESSAGE:
            found += len(value) if not isinstance(value, (str, bytes, int, float)) else 1
        elif isinstance(value, Mapping):
            found += len(value)
        else:
            found += sum(1 + decoded(one) for one in ([value] if isinstance(value, Message) else value))
    return found


def length(number: int) -> bytes:
    return bytes([number & 0x7F | 0x80]) + length(number >> 7) if number > 0x7F else bytes([number])


def field(number: int, content: bytes) -> bytes:
    return length(number << 3 | 2) + length(len(content)) + content


@given(messages)
def test_as_many_fields_are_counted_as_decoding_finds(message: Message) -> None:
    assert wire.count(message.SerializeToString(), message, NO_END) == decoded(message)


@given(messages, st.binary(max_size=20), st.integers(0, 10_000))
def test_of_any_bytes_at_least_what_can_be_decoded_is_counted(message: Message, noise: bytes, place: int) -> None:
    data = message.SerializeToString()
    data = data[: place % (len(data) + 1)] + noise + data[place % (len(data) + 1) :]
    try:
        counted = wire.count(data, message, NO_END)
    except ValueError:
        return
    read = type(message)()
    try:
        read.ParseFromString(data)
    except Exception:
        return
    assert counted >= decoded(read)


@given(messages, st.integers(0, 50))
def test_more_than_there_may_be_is_told_without_the_rest(message: Message, most: int) -> None:
    data = message.SerializeToString()
    whole = wire.count(data, message, NO_END)
    assert (wire.count(data, message, most) > most) == (whole > most)


class Watched(bytes):
    """Bytes that know how far somebody looked."""

    farthest = 0

    def __getitem__(self, place: Any) -> Any:
        self.farthest = max(self.farthest, place.stop if isinstance(place, slice) else place)
        return super().__getitem__(place)


@pytest.mark.parametrize(
    "data",
    [
        b"\x12\x00" * 100_000,
        field(2, b"\x0a\x00" * 100_000),
        field(2, field(5, b"\x0a\x00" * 100_000)),
        b"\xf8\x7f\x01" * 100_000,
    ],
    ids=["empty documents", "a field of a document, again and again", "a key of a pair, again and again", "unknown fields"],
)
def test_nothing_is_looked_at_after_the_most(data: bytes) -> None:
    watched = Watched(data)
    assert wire.count(watched, training_pb2.StartTrainingRequest, 1_000) > 1_000
    assert watched.farthest < 5_000


@pytest.mark.parametrize(
    ("data", "message", "fields"),
    [
        (field(3, b"\x01\x81\x01" * 50), training_pb2.RetryFailedDocumentsRequest, 100),
        (field(3, b"") * 10, training_pb2.RetryFailedDocumentsRequest, 10),
        (b"\x0a\x01a" * 10, training_pb2.StartTrainingRequest, 10),
        (field(2, field(5, field(1, b"k") + field(2, b"v" * 1_000))), training_pb2.StartTrainingRequest, 2),
        (field(2, field(5, field(1, b"k") * 100)), training_pb2.StartTrainingRequest, 100),
        (field(4, field(3, field(1, b"k"))), search_pb2.SearchRequest, 2),
        (field(16, b"x") + field(2_000, b"x"), training_pb2.StartTrainingRequest, 2),
        (b"\x92\x80\x00" + b"\x04" + field(1, b"id"), training_pb2.StartTrainingRequest, 2),
        (b"\x0d1234\x0912345678\x08\xff\x01", training_pb2.StartTrainingRequest, 3),
    ],
    ids=[
        "packed",
        "packed, none",
        "given again",
        "a long pair",
        "more than a pair",
        "a filter",
        "unknown",
        "a tag in too many bytes",
        "types",
    ],
)
def test_what_counts_as_a_field(data: bytes, message: Any, fields: int) -> None:
    assert wire.count(data, message, NO_END) == fields


@pytest.mark.parametrize(
    "data",
    [b"\x12", b"\x12\x05abc", field(2, b"\x0a\x7f"), b"\x08" + b"\xff" * 11, b"\x80" * 20, b"\x0b\x0c", b"\x0e"],
    ids=["no length", "cut off", "longer than what it is in", "number without end", "tag without end", "group", "no type"],
)
def test_what_is_no_message_is_told(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        wire.count(data, training_pb2.StartTrainingRequest, NO_END)
