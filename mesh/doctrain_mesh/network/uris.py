"""Which URIs a tenant may give for documents and manifests. Pure: nothing is opened or resolved here.

What can only be known when the URI is opened (symbolic links, the addresses behind a name) is checked then, by
``sources``. A manifest may hold a million URIs, so what repeats (scheme and host) is judged once and remembered.

Forms that are taken:

- ``blob://KEY`` and ``blob://KEY/OFFSET/LENGTH``: what this tenant uploaded; the key is 64 hexadecimal digits.
- ``file:///FOLDER/NAME``, below the folder that the operator allows.
- ``s3://BUCKET/KEY``; the key is taken as it stands, and its parts between slashes are not empty, ``.`` or ``..``, which the library
  of object stores cannot ask for.
- ``https://HOST/…``; ``http://`` only where private addresses are allowed.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from doctrain_mesh.network import addresses

MAX_URI_BYTES = 2048
MAX_NAME_BYTES = 255
MAX_KEY_BYTES = 1024

_BLOB = re.compile(r"blob://([0-9a-f]{64})(?:/([0-9]{1,12})/([0-9]{1,12}))?")
_BUCKET = re.compile(r"(?!xn--|.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_UNREADABLE_PART = re.compile(r"/\.{0,2}(?:/|\Z)")
_STORE_OF_OTHERS = re.compile(r"(?:gs|az|azure|abfss?|adl)://[^/@]+(?:/.*)?")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,254}}$){_LABEL}(?:\.{_LABEL})*\.?")
_REMEMBERED = 4096

_CREDENTIALS = "The URI contains credentials; remove them and ask the operator to give doctrain access."
_NO_HOST = "The URI has no valid host name."
_OWN_STORE = "The URI leads into doctrain's own store of uploads; use the blob:// URI that the upload answered."
_PRIVATE = "The URI leads to a private or local address; only public ones may be reached."


@dataclass(frozen=True, slots=True)
class BlobKey:
    """What a ``blob://`` URI names: an object of the tenant's, or ``length`` bytes from ``offset`` on within it."""

    sha256: str
    offset: int = 0
    length: int | None = None


def parse_blob(uri: str) -> BlobKey | None:
    """The key of a ``blob://`` URI; None when it is not one."""
    match = _BLOB.fullmatch(uri)
    if match is None:
        return None
    if match[2] is None:
        return BlobKey(match[1])
    return BlobKey(match[1], int(match[2]), int(match[3]))


def file_path(uri: str) -> str | None:
    """The normal form of the path of a ``file://`` URI; None when it names another machine or no absolute path."""
    rest = uri[len("file://") :]
    host, slash, path = rest.partition("/")
    if host not in ("", "localhost") or not slash:
        return None
    return posixpath.normpath("/" + unquote(path, errors="strict").lstrip("/"))


def store_fault(url: str) -> str | None:
    """Why tenants' uploads are not kept at that URL, in a sentence; None when they may be.

    There is one way to write each place, so that ``UriRules`` can tell that a tenant's URI leads there.
    """
    scheme, separator, rest = url.partition("://")
    if url.startswith("memory:"):
        return None
    if scheme == "file" and separator:
        folder = unquote(rest)
        fits = rest.startswith("/") and folder.isprintable() and not {"%", "\N{REPLACEMENT CHARACTER}"} & set(folder)
        return None if fits else "A folder is written with its whole path, as in file:///folder."
    if scheme == "s3" and separator:
        return (
            None
            if _BUCKET.fullmatch(rest.partition("/")[0])
            else "A bucket is written as s3://bucket/prefix; its name has 3 to 63 characters, which are a to z, 0 to 9, . and -, "
            "but it neither holds .. nor begins with xn--; its server is named by AWS_ENDPOINT_URL."
        )
    if _STORE_OF_OTHERS.fullmatch(url):
        return None
    return "It is written as file:///folder, s3://bucket/prefix (another server than Amazon's in AWS_ENDPOINT_URL), gs:// or az://."


class UriRules:
    """The rules of one deployment.

    Args:
        file_root: folder below which ``file://`` URIs may point; empty: they are refused.
        allow_private_addresses: whether ``https://`` may reach private addresses, and ``http://`` is taken at all.
        blob_url: where tenants' uploads are kept, as ``store_fault`` takes it; only ``blob://`` leads there, which keeps tenants apart.
    """

    def __init__(self, *, file_root: str = "", allow_private_addresses: bool = False, blob_url: str = "") -> None:
        self.file_root = posixpath.normpath(file_root) if file_root else ""
        self.allow_private_addresses = allow_private_addresses
        self._file_prefix = f"file://{self.file_root.rstrip('/')}/" if file_root else ""
        self.blob_folder = (file_path(blob_url) or "") if blob_url.startswith("file://") else ""
        self._blob_folder_uri = f"file://{self.blob_folder}" if self.blob_folder else ""
        self._blob_bucket = blob_url.removeprefix("s3://").partition("/")[0] if blob_url.startswith("s3://") else ""
        self._remembered: dict[str, str | None] = {}

    def reason(self, uri: str) -> str | None:
        """Why a URI is refused, in a sentence; None when it is taken."""
        if not uri.isprintable():
            return "The URI contains control characters or others that cannot be shown."
        if len(uri) > MAX_URI_BYTES or (not uri.isascii() and len(uri.encode()) > MAX_URI_BYTES):
            return f"The URI is longer than {MAX_URI_BYTES} bytes."
        # Scheme and host, up to the first slash after "scheme://"; nearly always seen before.
        slash = uri.find("/", uri.find("://") + 3)
        start = uri[:slash] if slash > 0 else uri
        try:
            reason = self._remembered[start]
        except KeyError:
            reason = self._judge_start(start)
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            self._remembered[start] = reason
        if reason is not None:
            return reason
        scheme = uri[:4]
        if scheme == "http":
            return None
        if scheme == "s3:/":
            return self._key_reason(uri, slash)
        return self._blob_reason(uri) if scheme == "blob" else self._file_reason(uri)

    def address_reason(self, address: addresses.Address) -> str | None:
        """Why a resolved address may not be connected to; None when it may."""
        return None if self.allow_private_addresses or addresses.is_public(address) else _PRIVATE

    def _key_reason(self, uri: str, slash: int) -> str | None:
        if not 0 < slash < len(uri) - 1:
            return "The URI names a bucket but no object in it."
        if _UNREADABLE_PART.search(uri, slash):
            return "The object's key has a part between slashes that is empty, . or .., so it cannot be read; store it under another key."
        too_long = (len(uri) > MAX_KEY_BYTES or not uri.isascii()) and len(uri[slash + 1 :].encode()) > MAX_KEY_BYTES
        return f"The object's key is longer than {MAX_KEY_BYTES:,} bytes." if too_long else None

    def _blob_reason(self, uri: str) -> str | None:
        return None if _BLOB.fullmatch(uri) else "The URI is not one that an upload answered."

    def _file_reason(self, uri: str) -> str | None:
        if not self.file_root:
            return "file:// URIs are switched off here; upload the document, or ask the operator to set DOCTRAIN_FILE_ROOT."
        plain = uri.startswith(self._file_prefix) and uri.isascii() and "/." not in uri and "%" not in uri and "//" not in uri[7:]
        if (
            plain
            and len(uri) - len(self._file_prefix) in range(1, MAX_NAME_BYTES)
            and not (self._blob_folder_uri and uri.startswith(self._blob_folder_uri))
        ):
            return None
        return self._path_reason(uri)

    def _path_reason(self, uri: str) -> str | None:
        try:
            path = file_path(uri)
        except UnicodeDecodeError:
            return "The path in the URI is not UTF-8."
        if path is None or not path.isprintable():
            return "A file:// URI must have an absolute path without control characters and no host, as in file:///folder/name."
        if path == self.file_root or not PurePosixPath(path).is_relative_to(self.file_root):
            return "The path is outside the folder that doctrain may read."
        if self.blob_folder and PurePosixPath(path).is_relative_to(self.blob_folder):
            return _OWN_STORE
        too_long = any(len(part.encode()) > MAX_NAME_BYTES for part in PurePosixPath(path).parts)
        return f"A name in the path is longer than {MAX_NAME_BYTES} bytes." if too_long else None

    def _judge_start(self, start: str) -> str | None:
        scheme, separator, authority = start.partition("://")
        if not separator:
            return "This is not a URI; it must begin with blob://, file://, s3:// or https://."
        if scheme in ("blob", "file"):
            return None
        if scheme == "s3":
            return self._s3_reason(authority)
        if scheme == "https" or (scheme == "http" and self.allow_private_addresses):
            return self._web_reason(start)
        if scheme == "http":
            return "http:// is not safe against tampering; use https://."
        return f"The scheme {scheme[:20]} is not supported; use blob, file, s3 or https."

    def _s3_reason(self, bucket: str) -> str | None:
        if "@" in bucket:
            return _CREDENTIALS
        if self._blob_bucket and bucket == self._blob_bucket:
            return _OWN_STORE
        return None if _BUCKET.fullmatch(bucket) else "The URI names no valid bucket, as in s3://bucket/object."

    def _web_reason(self, start: str) -> str | None:
        try:
            parts = urlsplit(start)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            return _NO_HOST
        if "@" in parts.netloc:
            return _CREDENTIALS
        address = addresses.literal(host)
        if address is not None:
            return self.address_reason(address)
        if port == 0 or not _HOST.fullmatch(host):
            return _NO_HOST
        return _PRIVATE if addresses.is_local_name(host) and not self.allow_private_addresses else None
