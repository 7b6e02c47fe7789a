"""The stage ``read``: from the bytes of a document to its text. Runs in a child, for the bytes are not to be trusted.

A replacement is a function of the same arguments and result (docs/howto/replace-a-stage.md).
"""

from __future__ import annotations

from doctrain_worker.pipeline.child import encoding, html, markdown, media, pdf
from doctrain_worker.pipeline.wire import DocumentText
from doctrain_worker.sandbox.refusal import Refusal


def read(content: bytes, claimed: str, name: str) -> DocumentText:
    """The document as text.

    Args:
        content: its bytes.
        claimed: the media type that its tenant gave; may be empty or wrong.
        name: the last part of its URI.

    Raises:
        Refusal: EMPTY, UNSUPPORTED, ENCRYPTED, CORRUPT or NO_TEXT.
    """
    media_type = media.detect(content, claimed, name)
    found = pdf.read(content) if media_type == media.PDF else DocumentText(_flat(content, media_type), media_type)
    if not any(character.isalnum() for character in found.text):
        raise Refusal("NO_TEXT", "There are no words in the document; leave it out.")
    return found


def _flat(content: bytes, media_type: str) -> str:
    if media_type in (media.PLAIN, media.MARKDOWN):
        return encoding.decode(content)
    if media_type == media.HTML:
        return html.read(content)
    if media_type == media.RTF:
        return _rtf(content)
    if media_type in (media.CSV, media.XML):
        content = encoding.decode(content).encode()
    return encoding.clean(markdown.convert(content, media_type))


def _rtf(content: bytes) -> str:
    from striprtf.striprtf import rtf_to_text  # only children which meet RTF pay

    # Its bytes beyond ASCII are written out as escapes, in code pages that the document names.
    return encoding.clean(
        rtf_to_text(  # type: ignore[no-untyped-call]
            content.decode("latin-1"), errors="replace"
        )
    )
