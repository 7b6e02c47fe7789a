"""What a database URL says, without its password, and what is wrong with one."""

from __future__ import annotations

import os
from urllib.parse import parse_qs, unquote, urlsplit

from doctrain_mesh.errors import ConfigurationError

VARIABLE = "DOCTRAIN_DATABASE_URL"
SHAPE = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
DEFAULT_PORT = 5432
_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")


def check(url: str) -> None:
    """Raises ConfigurationError that says what is wrong; it never holds the URL, which may hold a password."""
    if not url:
        raise ConfigurationError(f"{VARIABLE} is not set; write it as {SHAPE}, or let `doctrain dev` bring a Postgres of its own.")
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for what is no number
    except ValueError:  # it may quote a part of the password
        raise ConfigurationError(f"{VARIABLE} is not a URL; write it as {SHAPE}, a password's / @ : # as %2F %40 %3A %23.") from None
    if parts.scheme not in {"postgresql", "postgres"} or not url.startswith(f"{parts.scheme}://"):
        raise ConfigurationError(f"{VARIABLE} does not begin with postgresql://; write it as {SHAPE}.")


def server(url: str) -> str:
    """Where the server is, as ``host:port`` or the folder of its socket."""
    parts = urlsplit(url)
    host = parts.hostname or parse_qs(parts.query).get("host", [""])[0] or os.environ.get("PGHOST", "localhost")
    return host if host.startswith("/") else f"{host}:{parts.port or DEFAULT_PORT}"


def unreadable_file(url: str) -> str:
    """The first of the files for TLS that it names and that cannot be read, as ``sslrootcert=/etc/ca.pem``; empty: none."""
    named = parse_qs(urlsplit(url).query)
    return next((f"{name}={file}" for name in _FILES for file in named.get(name, ()) if not os.access(file, os.R_OK)), "")


def names(url: str) -> tuple[str, str]:
    """The user and the database that it names."""
    parts = urlsplit(url)
    user = unquote(parts.username or "") or os.environ.get("PGUSER", "")
    return user, unquote(parts.path.lstrip("/")) or user
