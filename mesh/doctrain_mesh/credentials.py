"""What a process shows and trusts on connections between the parts, read from the files that its settings name."""

from __future__ import annotations

import ssl

import grpc

from doctrain_mesh.errors import ConfigurationError
from doctrain_mesh.settings import Settings, read_file


def own_context(settings: Settings) -> ssl.SSLContext:
    """Serves with the process's own certificate. Raises ConfigurationError for files that hold none, which gRPC would not explain."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key, password="")
    except (ssl.SSLError, ValueError, OSError) as error:
        raise ConfigurationError(
            f"DOCTRAIN_TLS_CERTIFICATE and DOCTRAIN_TLS_KEY do not hold a certificate and its key, unencrypted, in PEM form ({error})."
        ) from error
    return context


def own_pair(settings: Settings) -> tuple[bytes, bytes]:
    """The process's key and its certificate chain (PEM). Raises ConfigurationError for files that cannot be read."""
    return read_file("DOCTRAIN_TLS_KEY", settings.tls_key), read_file("DOCTRAIN_TLS_CERTIFICATE", settings.tls_certificate)


def for_coordinators(settings: Settings) -> grpc.ChannelCredentials | None:
    """For channels to coordinators, who may ask for a certificate; None: no TLS. Raises ConfigurationError."""
    if not settings.tls_ca:
        return None
    authority = read_file("DOCTRAIN_TLS_CA", settings.tls_ca)
    if not settings.tls_certificate:
        return grpc.ssl_channel_credentials(authority)
    key, chain = own_pair(settings)
    own_context(settings)
    return grpc.ssl_channel_credentials(authority, key, chain)
