"""Reads an AMQP 0-9-1 connection from outside: what was delivered on it, and what its client settled, in that order."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

_METHOD, _HEADER, _BODY = 1, 2, 3
_DELIVER, _ACK, _REJECT, _NACK = (60, 60), (60, 80), (60, 90), (60, 120)
_GREETING_BYTES = 8

Settled = Callable[[str, bytes], None]
"""Called with ``ack`` or ``reject`` and the message's body."""


@dataclass
class _Way:
    """One direction: bytes that are no whole frame yet."""

    skip: int = 0
    rest: bytearray = field(default_factory=bytearray)

    def frames(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """(type, channel, payload) of the frames that are whole by now."""
        self.rest += data
        found = []
        if self.skip:
            taken = min(self.skip, len(self.rest))
            del self.rest[:taken]
            self.skip -= taken
        while len(self.rest) >= 7:
            kind, channel, size = struct.unpack_from(">BHI", self.rest)
            if len(self.rest) < size + 8:
                break
            found.append((kind, channel, bytes(self.rest[7 : 7 + size])))
            del self.rest[: size + 8]
        return found


class DeliveryTap:
    """A ``testkit.proxy.Tap`` of one connection; ``unsettled`` are the bodies of what its client has in hand."""

    def __init__(self, settled: Settled) -> None:
        self._settled = settled
        self._client, self._server = _Way(skip=_GREETING_BYTES), _Way()
        self._arriving: dict[int, tuple[int, bytearray, int]] = {}
        self.unsettled: dict[tuple[int, int], bytes] = {}
        self.open = True

    def back(self, data: bytes) -> None:
        for kind, channel, payload in self._server.frames(data):
            if kind == _METHOD and struct.unpack_from(">HH", payload) == _DELIVER:
                tag = struct.unpack_from(">Q", payload, 5 + payload[4])[0]
                self._arriving[channel] = tag, bytearray(), -1
            elif kind == _HEADER and channel in self._arriving:
                size = struct.unpack_from(">Q", payload, 4)[0]
                self._arrive(channel, b"", size)
            elif kind == _BODY and channel in self._arriving:
                self._arrive(channel, payload, None)

    def there(self, data: bytes) -> None:
        for kind, channel, payload in self._client.frames(data):
            if kind != _METHOD:
                continue
            method = struct.unpack_from(">HH", payload)
            if method in (_ACK, _REJECT, _NACK):
                tag, multiple = struct.unpack_from(">QB", payload, 4)
                self._settle("ack" if method == _ACK else "reject", channel, tag, multiple=bool(multiple & 1) and method != _REJECT)

    def closed(self) -> None:
        self.open = False
        self.unsettled.clear()

    def _arrive(self, channel: int, piece: bytes, size: int | None) -> None:
        tag, body, whole = self._arriving[channel]
        body += piece
        whole = whole if size is None else size
        self._arriving[channel] = tag, body, whole
        if len(body) >= whole >= 0:
            del self._arriving[channel]
            self.unsettled[channel, tag] = bytes(body)

    def _settle(self, how: str, channel: int, tag: int, *, multiple: bool) -> None:
        tags = [key for key in self.unsettled if key[0] == channel and (key[1] == tag or (multiple and key[1] <= tag))]
        for key in tags:
            self._settled(how, self.unsettled.pop(key))
