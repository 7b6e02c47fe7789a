"""Certificates for 127.0.0.1: one that is its own authority, made by the openssl program, and those of `doctrain certs`."""

from __future__ import annotations

import datetime
import subprocess
from dataclasses import dataclass
from pathlib import Path

from doctrain_server import development_ca


@dataclass(frozen=True, slots=True)
class Signed:
    """A CA, a server's certificate and a client's of it, each with its key; PEM files."""

    ca: Path
    server: tuple[Path, Path]
    client: tuple[Path, Path]


def signed(folder: Path) -> Signed:
    """Makes them, in a folder that is made."""
    development_ca.write(folder, ["127.0.0.1"], days=2, now=datetime.datetime.now(datetime.UTC))
    server, client = ((folder / f"{name}.pem", folder / f"{name}.key") for name in ("coordinator", "worker"))
    return Signed(folder / "ca.pem", server, client)


def self_signed(folder: Path, name: str = "server") -> tuple[Path, Path]:
    """Certificate and key as PEM files."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    subprocess.run(
        ["openssl", "req", "-x509", *kind, *subject, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
    )
    return certificate, key
