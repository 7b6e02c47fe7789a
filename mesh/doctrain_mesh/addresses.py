"""Which network addresses a document's URI may reach: public ones only, unless the operator says otherwise. Pure."""

from __future__ import annotations

import ipaddress
import socket

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LOCAL_NAMES = ("localhost", "localdomain", "local", "internal", "intranet", "home.arpa")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(address: Address) -> bool:
    """Whether anyone on the internet could reach it; looks through the forms in which IPv6 carries an IPv4 address."""
    if isinstance(address, ipaddress.IPv6Address):
        carried = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if carried is None and address in _NAT64:
            carried = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if carried is not None:
            return is_public(carried)
    return address.is_global and not address.is_multicast


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


def is_local_name(host: str) -> bool:
    """Whether a host's name means this machine or a private network by convention."""
    name = host.rstrip(".").lower()
    return "." not in name or any(name == local or name.endswith("." + local) for local in _LOCAL_NAMES)
