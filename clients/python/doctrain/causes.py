"""Why a connection did not come about, in words: gRPC tells it in those of its C library."""

from __future__ import annotations

import re

NO_TLS = "this server speaks no TLS; leave out ca (--ca, DOCTRAIN_CA)"
NEEDS_TLS = "this server speaks TLS; name its authority by ca (--ca, DOCTRAIN_CA)"
OTHER_CERTIFICATE = "its certificate is not one that ca trusts for this address (--ca, DOCTRAIN_CA)"
WANTS_CERTIFICATE = "it is for those who show a certificate, as the address of workers is; take the coordinator's other one"
REFUSED = "connection refused: nothing listens there"
CLOSED = "it closed the connection at once"
CUT_OFF = "it ended the call, as it does when it shuts down"
UNCERTAIN = frozenset({REFUSED, CLOSED})
"""Causes that another one may be behind; ``doctrain.probe`` has a second look."""

_CAUSES = [
    ("WRONG_VERSION_NUMBER", NO_TLS),
    ("CERTIFICATE_VERIFY_FAILED", "its certificate was not signed by the authority that ca names (--ca, DOCTRAIN_CA)"),
    ("Hostname Verification Check failed|is not in peer certificate", "its certificate is for another name than the address has"),
    ("Connection refused", REFUSED),
    ("Domain name not found|Name or service not known|address lookup failed|DNS resolution failed", "there is no such host"),
    ("No route to host|Network is unreachable", "there is no way to this host"),
    ("http1.x server|Expected SETTINGS frame", "what listens there is no doctrain service"),
    ("failed to connect to all addresses.*(Socket closed|Connection reset)", CLOSED),
    (r"^CANCELLED$|^$", CUT_OFF),
    ("timed out before receiving SETTINGS|FD Shutdown|Connection timed out|Deadline", "it did not answer in time"),
]
_CORE_PREFIX = re.compile(r"^failed to connect to all addresses; last error: (?:[A-Z_]+: )?(?:(?:ipv4|ipv6|unix):\S+: )?")

_NOT_CONNECTED = re.compile("failed to connect to all addresses|DNS resolution failed|errors resolving")


def not_connected(text: str) -> bool:
    """Whether gRPC says that it found no connection to make the call on, so that nothing of it was sent."""
    return _NOT_CONNECTED.match(text) is not None


def in_words(text: str) -> str:
    """A part of a sentence for what gRPC said, or its own words when they are not known here."""
    for pattern, words in _CAUSES:
        if re.search(pattern, text, re.DOTALL):
            return words
    return _CORE_PREFIX.sub("", text).strip().rstrip(".") or "no cause was given"
