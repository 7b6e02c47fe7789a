"""What a call keeps of the request that it decoded."""

from __future__ import annotations

from pathlib import Path

import pytest

from doctrain.v1 import training_pb2 as pb
from doctrain_coordinator.rpc.streams import Decoder

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
