"""Which network addresses a document's URI may reach: public ones only, unless the operator says otherwise. Pure."""

from __future__ import annotations

import ipaddress
import re
import socket

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_ENDPOINT = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):([0-9]{1,5})")
_LARGEST_PORT = 65_535
_LOCAL_NAMES = ("localhost", "localdomain", "local", "internal", "intranet", "home.arpa")
# Forms that carry an IPv4 address in their last four bytes: NAT64, IPv4-compatible and IPv4-translated ones.
_CARRYING = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96")))
# What IANA's registries of special-purpose addresses do not give to everybody, multicast, what is reserved, and Azure's host as its
# machines see it. All is named: what of it ``ipaddress`` knows depends on the version of Python.
_NOT_PUBLIC_4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "168.63.129.16/32",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",
        ),
    )
)
# Outside of it an IPv6 address is special, or nobody's.
_PUBLIC_6 = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20")))


def is_public(address: Address) -> bool:
    """Whether anyone on the internet could reach it; looks through the forms in which IPv6 carries an IPv4 address."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    carried = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
    if carried is None and any(address in network for network in _CARRYING):
        carried = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if carried is not None:
        return is_public(carried)
    return address in _PUBLIC_6 and not any(address in network for network in _NOT_PUBLIC_6)


def literal(host: str) -> Address | None:
    """The address that a host is written as, in any form that a resolver takes (``0x7f.1`` too); None for a name."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def is_endpoint(text: str) -> bool:
    """Whether it is HOST:PORT, the host a name, an IPv4 address, or an IPv6 address in brackets."""
    match = _ENDPOINT.fullmatch(text)
    return match is not None and 1 <= int(match[1]) <= _LARGEST_PORT


def is_local_name(host: str) -> bool:
    """Whether a host's name means this machine or a private network by convention."""
    name = host.rstrip(".").lower()
    return "." not in name or any(name == local or name.endswith("." + local) for local in _LOCAL_NAMES)


def is_loopback(host: str) -> bool:
    """Whether it names this machine to itself: an address, in brackets or not, or ``localhost``."""
    name = host.strip("[]").lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
