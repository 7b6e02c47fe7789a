"""What travels on a child's channel: frames of msgpack, each after its length in four bytes, big-endian.

Nothing that a child sends is unpickled or trusted: a frame is bounded, typed, and refused whole when it is not as said.
"""

from __future__ import annotations

from typing import Any

import msgspec

HEADER_BYTES = 4


class Call(msgspec.Struct, array_like=True):
    """To the child: do this.

    Args:
        task: the function's argument.
    """

    task: Any


class Answered(msgspec.Struct, array_like=True, tag=0):
    """From the child: the function's result, and the largest memory it ever had, in KiB."""

    value: Any
    peak_rss_kb: int


class Refused(msgspec.Struct, array_like=True, tag=1):
    """From the child: the document is at fault."""

    code: str
    sentence: str
    resource: bool


class OutOfMemory(msgspec.Struct, array_like=True, tag=2):
    """From the child: an allocation failed."""


class Raised(msgspec.Struct, array_like=True, tag=3):
    """From the child: the function raised what it did not mean to."""

    kind: str
    message: str


class Ready(msgspec.Struct, array_like=True, tag=4):
    """From the child: it has imported all it needs."""


class OutOfSpace(msgspec.Struct, array_like=True, tag=5):
    """From the child: a file grew too large, or the scratch folder is full."""


Reply = Answered | Refused | OutOfMemory | OutOfSpace | Raised | Ready

_encoder = msgspec.msgpack.Encoder()
_replies: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)
_calls = msgspec.msgpack.Decoder(Call)


def pack(message: Call | Reply) -> bytearray:
    """The frame of a message."""
    buffer = bytearray(HEADER_BYTES)
    _encoder.encode_into(message, buffer, HEADER_BYTES)
    buffer[:HEADER_BYTES] = (len(buffer) - HEADER_BYTES).to_bytes(HEADER_BYTES, "big")
    return buffer


def read_reply(body: bytes | bytearray | memoryview) -> Reply:
    """A child's message; raises msgspec.DecodeError when it is none."""
    return _replies.decode(body)


def read_call(body: bytes | bytearray | memoryview) -> Call:
    """The main process's message."""
    return _calls.decode(body)
