"""How long the calls of a client may take."""

from __future__ import annotations

from dataclasses import dataclass

from doctrain.watch import SILENCE_SECONDS


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long calls may take, retries included."""

    call_seconds: float = 10.0
    """Every call that is not named here."""
    start_seconds: float = 60.0
    """StartTraining, which may carry megabytes of documents or read the first part of a manifest."""
    upload_seconds: float = 600.0
    """One document's upload."""
    delete_seconds: float = 90.0
    """One DeleteDocuments of the many that a large delete takes."""
    silence_seconds: float = SILENCE_SECONDS
    """A watch without any message for this long is opened again elsewhere."""
