"""Within what hostile documents are read."""

from __future__ import annotations

from dataclasses import replace

from hostile.document import MIB
from testkit.limits import LIMITS

TRIAL = replace(LIMITS, call_seconds=60, document_memory_bytes=512 * MIB, max_document_bytes=32 * MIB, max_document_chunks=2000)
