"""Documents that are ZIP archives: looked at before a library unpacks them, for a few kilobytes may unpack to gigabytes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

from doctrain_worker.pipeline.child import media
from doctrain_worker.sandbox.child.refusal import Refusal

MOST_BYTES = 1 << 30
MOST_MEMBERS = 20_000
LARGEST_RATIO = 200
SMALL_BYTES = 64 << 20
"""What unpacks to less is no harm, however small it was."""


def check(content: bytes) -> None:
    """Raises Refusal CORRUPT, or TOO_LARGE for what would unpack to far more than a document."""
    with damage_told(), zipfile.ZipFile(io.BytesIO(content)) as archive:
        sizes = [member.file_size for member in archive.infolist()]
    whole = sum(sizes)
    if len(sizes) > MOST_MEMBERS or whole > MOST_BYTES or (whole > SMALL_BYTES and whole > LARGEST_RATIO * len(content)):
        raise Refusal("TOO_LARGE", "The document would unpack to far more than it is; save it again, or split it.", resource=True)


@contextmanager
def damage_told() -> Iterator[None]:
    """What a library raises for bytes that are not as they should be is the document's fault, and its words are for programmers."""
    try:
        yield
    except (Refusal, MemoryError, RecursionError):
        raise
    except OSError as error:
        if error.errno is not None:
            raise  # no room, not no document
        raise Refusal("CORRUPT", media.CORRUPT) from error
    except Exception as error:
        raise Refusal("CORRUPT", media.CORRUPT) from error
