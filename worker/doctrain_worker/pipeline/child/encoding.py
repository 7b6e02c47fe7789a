"""From bytes to text: the encoding is told by a mark, by the document itself, or found by looking."""

from __future__ import annotations

import codecs
import re

import charset_normalizer

_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]{1,40})""", re.IGNORECASE)
_LIKELY = [
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "iso8859_2", "koi8_r"),
    *("cp932", "euc_jp", "gb18030", "big5", "cp949", "tis_620"),
]
"""What documents without a mark are in; among all that Python knows, short texts are mistaken for those of old machines."""

_LOOKED_AT = 64 << 10

# Postgres stores no NUL; the rest are controls that say nothing in text (tab, newline and return stay).
_UNWANTED: dict[int, str | None] = dict.fromkeys((c for c in range(32) if c not in (9, 10, 13)), None) | {
    0x7F: None,
    0xFEFF: None,
    0xAD: None,
    0xFFFE: None,
    0xFFFF: None,
    11: "\n",
    12: "\n",
}


def decode(content: bytes, *, html: bool = False) -> str:
    """The text, whatever its encoding; what cannot be decoded is replaced, never an error."""
    return clean(content.decode(encoding_of(content, html=html), errors="replace"))


def encoding_of(content: bytes, *, html: bool = False) -> str:
    """The name of a codec of Python's."""
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return encoding
    head = content[:_LOOKED_AT]
    if html and (told := _CHARSET.search(head)) is not None:
        declared = _known(told[1].decode("ascii"))
        if declared is not None:
            return declared
    zeros = head.count(0)
    if zeros > len(head) // 3:
        return "utf-16-le" if head[1::2].count(0) == zeros else "utf-16-be"
    if _decodes(content, "utf-8"):
        return "utf-8"
    found = charset_normalizer.from_bytes(head, cp_isolation=_LIKELY).best()
    return found.encoding if found is not None else "cp1252"


def clean(text: str) -> str:
    """Without characters that a database or a reader cannot take, lone surrogates included, and with one kind of line end."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_UNWANTED)
    return text if text.isascii() else text.encode("utf-8", errors="replace").decode("utf-8")


def _known(name: str) -> str | None:
    try:
        return codecs.lookup(name).name
    except LookupError:
        return None


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
