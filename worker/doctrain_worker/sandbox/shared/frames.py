"""What travels on a child's channel: frames of msgpack, each after its length in four bytes, big-endian.

Nothing that a child sends is unpickled or trusted: a frame is bounded, typed, and refused whole when it is not as said. The
value of a function stays as it came until its caller says of what type it is: decoded without one, four megabytes of nested
lists would be three hundred in memory and seconds in the event loop.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from doctrain_worker.sandbox.shared.ends import OutOfMemory, OutOfSpace, Raised, Refused

T = TypeVar("T")

HEADER_BYTES = 4


class NonsenseError(Exception):
    """What a child sent is not of the type that it must be."""


class Call(msgspec.Struct, array_like=True):
    """To the child: call the function with this."""

    task: Any


class Ready(msgspec.Struct, array_like=True, tag=5):
    """From the child: it has imported all it needs."""


class Answered(msgspec.Struct, array_like=True, tag=0):
    """From the child: the function's result."""

    value: msgspec.Raw


End = Answered | Refused | Raised | OutOfMemory | OutOfSpace | Ready


class Reply(msgspec.Struct, array_like=True):
    """From the child: what came of a call, and what it did to the child.

    Args:
        end: what came of it.
        peak_rss_kb: the most memory that the child ever had at once, in KiB.
        left: whether processes that the call started are alive, or files are in the scratch folder.
    """

    end: End
    peak_rss_kb: int
    left: bool


_encoder = msgspec.msgpack.Encoder()
_replies = msgspec.msgpack.Decoder(Reply)
_calls = msgspec.msgpack.Decoder(Call)


def pack(message: Call | Reply) -> bytearray:
    """The frame of a message."""
    buffer = bytearray(HEADER_BYTES)
    _encoder.encode_into(message, buffer, HEADER_BYTES)
    buffer[:HEADER_BYTES] = (len(buffer) - HEADER_BYTES).to_bytes(HEADER_BYTES, "big")
    return buffer


def answered(value: object) -> Answered:
    """A function's result, on its way. Raises TypeError or ValueError for what is no msgpack value."""
    return Answered(msgspec.Raw(_encoder.encode(value)))


def decoded(content: bytes | bytearray | memoryview | msgspec.Raw, decoder: msgspec.msgpack.Decoder[T]) -> T:
    """What a child sent, of the decoder's type. Raises NonsenseError."""
    try:
        return decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NonsenseError(str(error)) from error


def read_reply(body: bytes | bytearray | memoryview) -> Reply:
    """A child's message. Raises NonsenseError when it is none."""
    return decoded(body, _replies)


def read_call(body: bytes | bytearray | memoryview) -> Call:
    """The main process's message."""
    return _calls.decode(body)
