"""The tap on AMQP connections, which the checker's word on acks rests on."""

from __future__ import annotations

import struct

from testkit.amqp import DeliveryTap

GREETING = b"AMQP\x00\x00\x09\x01"


def frame(kind: int, payload: bytes, channel: int = 1) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def delivery(tag: int, body: bytes, pieces: int = 1) -> bytes:
    deliver = struct.pack(">HHB", 60, 60, 3) + b"ctx" + struct.pack(">QB", tag, 0) + b"\x00\x01q"
    header = struct.pack(">HHQH", 60, 0, len(body), 0)
    size = max(1, -(-len(body) // pieces))
    bodies = [frame(3, body[start : start + size]) for start in range(0, len(body), size)]
    return frame(1, deliver) + frame(2, header) + b"".join(bodies)


def settle(method: int, tag: int, flags: int = 0) -> bytes:
    return frame(1, struct.pack(">HHQB", 60, method, tag, flags))


def tapped() -> tuple[DeliveryTap, list[tuple[str, bytes]]]:
    seen: list[tuple[str, bytes]] = []
    tap = DeliveryTap(lambda how, body: seen.append((how, body)))
    tap.there(GREETING)
    return tap, seen


def test_an_ack_names_what_was_delivered_however_the_bytes_are_cut() -> None:
    tap, seen = tapped()
    for byte in delivery(1, b"one", pieces=2) + frame(8, b"", channel=0) + delivery(2, b"two"):
        tap.back(bytes([byte]))
    assert sorted(tap.unsettled.values()) == [b"one", b"two"]
    for byte in settle(80, 2):
        tap.there(bytes([byte]))
    assert seen == [("ack", b"two")]
    assert list(tap.unsettled.values()) == [b"one"]


def test_an_ack_of_several_settles_all_before_it_and_a_reject_one() -> None:
    tap, seen = tapped()
    for tag in (1, 2, 3):
        tap.back(delivery(tag, b"%d" % tag))
    tap.there(settle(80, 2, flags=1) + settle(90, 3, flags=0))
    assert seen == [("ack", b"1"), ("ack", b"2"), ("reject", b"3")]


def test_an_empty_message_is_delivered_too_and_a_closed_connection_has_nothing_in_hand() -> None:
    tap, _ = tapped()
    tap.back(delivery(1, b""))
    assert list(tap.unsettled.values()) == [b""]
    tap.closed()
    assert not tap.open
    assert not tap.unsettled
