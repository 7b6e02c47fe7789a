"""An authority for trying TLS out: one CA, a certificate for the coordinators and one for the workers, as files."""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from doctrain_mesh.errors import ConfigurationError

ENDS_WITH = ("pem", "key")
FILES = tuple(f"{name}.{end}" for name in ("ca", "coordinator", "worker") for end in ENDS_WITH)
_HOST = re.compile(r"(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
_EARLIER = datetime.timedelta(minutes=5)
"""Clocks of other machines may be behind."""


@dataclass(frozen=True, slots=True)
class _Pair:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def files(self) -> tuple[bytes, bytes]:
        """The certificate and its unencrypted key, as PEM."""
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return self.certificate.public_bytes(serialization.Encoding.PEM), self.key.private_bytes(*form)


def write(folder: Path, names: Sequence[str], *, days: int, now: datetime.datetime) -> dict[str, dict[str, str]]:
    """Writes ``FILES`` into the folder, each for its owner alone, and answers the settings that name them, by who needs them.

    Args:
        folder: made when it is missing.
        names: host names and IP addresses at which coordinators are reached.
        days: how long the certificates are valid from ``now`` on.

    Raises ConfigurationError for a name that is none, and when one of the files is there: nothing is overwritten.
    """
    alternatives = [_alternative(name) for name in names]
    folder = folder.absolute()
    there = [name for name in FILES if (folder / name).exists()]
    if there:
        raise ConfigurationError(f"{folder} holds {', '.join(there)} already, and nothing is overwritten; choose another folder.")
    authority = _authority(days, now)
    both = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)  # a coordinator's doctor calls the others as a worker does
    pairs = {
        "ca": authority,
        "coordinator": _signed(authority, "doctrain coordinator", both, alternatives, days=days, now=now),
        "worker": _signed(authority, "doctrain worker", (ExtendedKeyUsageOID.CLIENT_AUTH,), (), days=days, now=now),
    }
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, pair in pairs.items():
            for end, content in zip(ENDS_WITH, pair.files(), strict=True):
                _write_new(folder / f"{name}.{end}", content)
    except OSError as error:
        raise ConfigurationError(f"The certificates cannot be written to {folder} ({error.strerror}); choose another folder.") from error
    return _settings(folder)


def _settings(folder: Path) -> dict[str, dict[str, str]]:
    ca = str(folder / "ca.pem")

    def own(name: str) -> dict[str, str]:
        return {
            "DOCTRAIN_TLS_CERTIFICATE": str(folder / f"{name}.pem"),
            "DOCTRAIN_TLS_KEY": str(folder / f"{name}.key"),
            "DOCTRAIN_TLS_CA": ca,
        }

    return {
        "coordinator": {**own("coordinator"), "DOCTRAIN_WORKER_LISTEN": "0.0.0.0:7701", "DOCTRAIN_TLS_WORKER_CA": ca},
        "worker": own("worker"),
        "tenant": {"DOCTRAIN_CA": ca},
    }


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        if not _HOST.fullmatch(name):
            raise ConfigurationError(f"{name!r} is neither a host name nor an IP address; write it without a port.") from None
        return x509.DNSName(name)


def _authority(days: int, now: datetime.datetime) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("doctrain development CA")
    usage = _usage(signs=True)
    builder = _begun(name, name, key, days, now).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(usage, critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return _Pair(builder.sign(key, hashes.SHA256()), key)


def _signed(
    authority: _Pair,
    name: str,
    purposes: Iterable[x509.ObjectIdentifier],
    alternatives: Sequence[x509.GeneralName],
    *,
    days: int,
    now: datetime.datetime,
) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _begun(_name(name), authority.certificate.subject, key, days, now)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = builder.add_extension(identifier, critical=False)
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return _Pair(builder.sign(authority.key, hashes.SHA256()), key)


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int, now: datetime.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write_new(file: Path, content: bytes) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(content)
