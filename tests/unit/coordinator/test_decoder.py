"""What a call keeps of the request that it decoded."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from doctrain.v1 import training_pb2 as pb
from doctrain_coordinator.rpc.streams import Decoder
from doctrain_mesh.errors import InvalidRequestError, RequestTooLargeError

LARGE = 2**23
DECODER = Decoder(pb.StartTrainingRequest.FromString)


def field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def held_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("number", [1_000, 3], ids=["unknown", "given again"])
def test_nothing_is_kept_of_what_a_request_does_not_say(number: int) -> None:
    before = held_bytes()
    kept = [DECODER.message(field(number, b"x" * LARGE) + field(3, b"https://example.com/m")) for _ in range(16)]
    assert {message.manifest_uri for message in kept} == {"https://example.com/m"}
    assert held_bytes() - before < 8 * LARGE
    assert all(len(message.SerializeToString()) < 100 for message in kept)


async def test_what_may_have_too_many_fields_is_counted_and_decoded_beside_the_loop() -> None:
    threads = set()

    def decode(data: bytes) -> pb.StartTrainingRequest:
        threads.add(threading.get_ident())
        return pb.StartTrainingRequest.FromString(data)

    decoder, few = Decoder(decode, most_fields=1_000), b"\x12\x00" * 900
    assert len((await decoder.read(few)).documents) == 900
    assert threads == {threading.get_ident()}
    threads.clear()
    assert (await decoder.read(few + field(3, b"x" * LARGE))).manifest_uri == "x" * LARGE
    assert len(threads) == 1
    assert threads != {threading.get_ident()}
    with pytest.raises(RequestTooLargeError, match="at most 1,000 fields") as caught:
        await decoder.read(few + b"\x12\x00" * 101)
    assert caught.value.metadata == {"limit": "1000", "unit": "fields"}


async def test_what_is_no_message_is_told_so_while_it_is_counted() -> None:
    with pytest.raises(InvalidRequestError, match="not a message of this method"):
        await Decoder(pb.StartTrainingRequest.FromString, most_fields=10).read(b"\x12\x00" + field(3, b"x" * 50) + b"\x12")
