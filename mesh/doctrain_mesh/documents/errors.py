"""What may be wrong with a document's bytes where they are kept; a store that is away is ``errors.BlobUnavailableError``."""

from __future__ import annotations

from doctrain_mesh.errors import InvalidRequestError, RequestTooLargeError


class BlobNotFoundError(InvalidRequestError):
    """Nothing is there, or nothing that this tenant may see: asking again will not help."""


class BlobForbiddenError(InvalidRequestError):
    """What is there may not be read: by its owner's rules, or by ours (an address, a link that leaves the root)."""


class BlobCredentialsError(BlobForbiddenError):
    """The mesh has no credentials for the object store: its operator is to give it some."""


class BlobChangedError(InvalidRequestError):
    """The object was replaced while it was being read; what was read so far belongs to what is no longer there."""


class BlobRangeError(InvalidRequestError):
    """A URI names bytes that its object does not have."""

    def __init__(self, offset: int, length: int, size: int) -> None:
        super().__init__(
            f"The URI names {length:,} bytes from byte {offset:,} on, but what is stored there has {size:,}; "
            "use the URI that the upload answered."
        )


class BlobTooLargeError(RequestTooLargeError):
    """More bytes than the limit; metadata carries ``limit`` and ``unit``."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"It is larger than {limit:,} bytes, the limit here.", metadata={"limit": str(limit), "unit": "bytes"})
