"""Documents with structure to Markdown, by kreuzberg: without its cache, its own threads or its own idea of OCR."""

from __future__ import annotations

from functools import cache

import kreuzberg

from doctrain_worker.sandbox.refusal import Refusal

_CORRUPT = "The document is damaged or cut off and cannot be opened; save it again, or leave it out."
_ENCRYPTED = "The document is protected by a password; save it without one and train it again."


@cache
def _configuration() -> kreuzberg.ExtractionConfig:
    return kreuzberg.ExtractionConfig(  # type: ignore[call-arg] # its stubs lack disable_ocr
        disable_ocr=True, use_cache=False, output_format="markdown", concurrency=kreuzberg.ConcurrencyConfig(max_threads=1)
    )


def convert(content: bytes, media_type: str) -> str:
    """Markdown. Raises Refusal ENCRYPTED, CORRUPT or UNSUPPORTED."""
    try:
        converted: str = kreuzberg.extract_bytes_sync(content, media_type, _configuration()).content
    except kreuzberg.ParsingError as error:
        raise _refusal(str(error)) from error
    except kreuzberg.ValidationError as error:
        raise Refusal("UNSUPPORTED", f"Documents of type {media_type} cannot be trained yet; save it as PDF or plain text.") from error
    except kreuzberg.KreuzbergError as error:
        raise _refusal(str(error)) from error
    return converted


def _refusal(message: str) -> Refusal:
    if "password" in message.lower() or "encrypted" in message.lower():
        return Refusal("ENCRYPTED", _ENCRYPTED)
    return Refusal("CORRUPT", _CORRUPT)
