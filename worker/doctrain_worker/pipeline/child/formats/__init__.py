"""The formats of documents: each module makes blocks, pages or parts of one kind of bytes, by a library of that format.

A module, and its library with it, is imported by the first document that needs it.
"""

from __future__ import annotations

import importlib
from typing import cast

from doctrain_worker.pipeline.child import media
from doctrain_worker.pipeline.child.formats.content import Content
from doctrain_worker.pipeline.child.source import Source

_READERS = {
    media.PDF: "pdf:read",
    media.DOCX: "word:read",
    media.PPTX: "slides:read",
    media.HTML: "html:read",
    media.MARKDOWN: "plain:read",
    media.PLAIN: "plain:read",
    media.RTF: "plain:read_rtf",
    media.CSV: "delimited:read",
    media.JSON: "json_text:read",
    media.MAIL: "mail:read",
    media.MSG: "mail:read_msg",
    media.ZIP: "archives:read_zip",
    media.TAR: "archives:read_tar",
    **dict.fromkeys(media.COMPRESSED, "archives:read_compressed"),
    **dict.fromkeys(media.PICTURES, "images:read"),
    **dict.fromkeys(media.OFFICE, "office:read"),
}


def opened(source: Source) -> Content:
    """What a source of a known type says. Raises Refusal."""
    module, _, function = _READERS[source.media_type].partition(":")
    return cast("Content", getattr(importlib.import_module(f"{__name__}.{module}"), function)(source))
