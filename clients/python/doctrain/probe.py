"""A second look at an address that no connection came about to: does the server speak TLS where none was meant, or none?

gRPC tells the fate of one IP address of a name only, often not of the one that the server listens on, and of a TLS server
that was spoken to in plain words only that it hung up. Nothing is sent but the opening of a TLS connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl

from doctrain import causes

PROBE_SECONDS = 1.0


async def cause(address: str, *, tls: bool) -> str | None:
    """The cause as a part of a sentence, when TLS is it; None when nothing more is known. Takes a few ``PROBE_SECONDS`` at most."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # whoever it is: only what it speaks is asked
    context.set_alpn_protocols(["h2"])
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
    except ssl.SSLError:
        return causes.NO_TLS if tls else None
    except (OSError, TimeoutError):
        return None
    try:
        if tls and await _wants_certificate(reader):
            return causes.WANTS_CERTIFICATE
    finally:
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(PROBE_SECONDS):
                await writer.wait_closed()
    return causes.OTHER_CERTIFICATE if tls else causes.NEEDS_TLS


async def _wants_certificate(reader: asyncio.StreamReader) -> bool:
    """Whether the server ends the connection for want of one: with TLS 1.3 it does after the handshake, gRPC without a word."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            return not await reader.read(1)
    except ssl.SSLError as error:
        return "CERTIFICATE_REQUIRED" in str(error)
    except (OSError, TimeoutError):
        return False
