"""From bytes to text: the encoding is told by a mark, stated for the document or by it, or found by looking."""

from __future__ import annotations

import codecs
import re

_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]{1,40})""", re.IGNORECASE)

_WESTERN = "cp1252"
_LATIN = (_WESTERN, "cp1250", "cp1254", "cp1257", "cp1258", "iso8859-2")
_IDEOGRAPHS = ("cp932", "euc-jp", "gb18030", "big5", "cp949")
_OTHER_LETTERS = ("cp1251", "koi8-r", "koi8-u", "cp866", "cp1253", "iso8859-7", "cp1255", "cp1256", "cp874")
"""Together what documents without a mark are in; among all that there are, short texts are mistaken for those of old machines."""

_RUN = re.compile(rb"[\x80-\xff]+")
_RUN_IN_WORD = re.compile(rb"(?<=[A-Za-z])[\x80-\xff]+|[\x80-\xff]+(?=[A-Za-z])")

_CLEARLY = 1.1
"""How much better than Western European another code page must fit: a few accents fit several about as well."""

_NO_ENCODINGS = ("idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape")
"""Codecs of text that no document is in."""

_MEANT = {
    **{"iso8859-1": _WESTERN, "iso8859-9": "cp1254", "tis-620": "cp874"},
    **{"shift_jis": "cp932", "gb2312": "gb18030", "gbk": "gb18030", "euc_kr": "cp949"},
}
"""What is stated as the narrower is written in the wider, as browsers know."""

_LOOKED_AT = 64 << 10
_BEFORE = 1 << 10

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


def decode(content: bytes, stated: str = "", *, html: bool = False) -> str:
    """The text, whatever its encoding; what cannot be decoded is replaced, never an error.

    Args:
        content: all bytes.
        stated: the name of an encoding that a tenant or a mail gave; may be empty or wrong.
        html: whether the text may state its encoding itself.
    """
    return clean(content.decode(encoding_of(content, stated, html=html), errors="replace"))


def encoding_of(content: bytes, stated: str = "", *, html: bool = False) -> str:
    """The name of a codec of Python's."""
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return encoding
    head = content[:_LOOKED_AT]
    for named in (_known(stated), _declared(head) if html else ""):
        if named and _decodes(content, named):
            return named
    zeros = head.count(0)
    if zeros > len(head) // 3:
        return "utf-16-le" if head[1::2].count(0) == zeros else "utf-16-be"
    return "utf-8" if _decodes(content, "utf-8") else _found(content)


def clean(text: str) -> str:
    """Without characters that a database or a reader cannot take, lone surrogates included, and with one kind of line end."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_UNWANTED)
    return text if text.isascii() else text.encode("utf-8", errors="replace").decode("utf-8")


def _declared(head: bytes) -> str:
    """What a page declares in bytes of ASCII, unless it is an encoding that makes something else of those (UTF-16, EBCDIC)."""
    told = _CHARSET.search(head)
    named = _known(told[1].decode("ascii")) if told is not None else ""
    return named if told is not None and named and told[1].decode(named, errors="replace").encode() == told[1] else ""


def _found(content: bytes) -> str:
    """What text that states nothing is in, by its first letters beyond ASCII and what stands around them."""
    import chardet  # only children which meet such text pay

    first = _RUN.search(content)
    begin = max(first.start() - _BEFORE, 0) if first is not None else 0
    evidence = content[begin : begin + _LOOKED_AT]
    read = evidence.decode("utf-8", errors="replace")
    if 4 * read.count("\ufffd") < sum(letter > "\x7f" for letter in read):
        return "utf-8"  # no other text reads as UTF-8 but for a few bytes
    # A word is written in one script: letters beyond ASCII in words of ASCII are Latin, too.
    latin = 2 * len(_RUN_IN_WORD.findall(evidence)) >= len(_RUN.findall(evidence))
    likely = (*_LATIN, *_IDEOGRAPHS) if latin else (*_LATIN, *_IDEOGRAPHS, *_OTHER_LETTERS)
    ranked = chardet.detect_all(evidence, ignore_threshold=True, compat_names=False, include_encodings=likely)
    fits = {found["encoding"] or _WESTERN: found["confidence"] for found in ranked}
    best = max(fits, key=lambda encoding: fits[encoding], default=_WESTERN)
    return _WESTERN if fits.get(_WESTERN, 0.0) * _CLEARLY >= fits.get(best, 0.0) else best


def _known(name: str) -> str:
    """The codec of what a name of an encoding means, or nothing: Python has codecs that decode no text, too (``hex``, ``zlib``)."""
    try:
        codec = codecs.lookup(name)
    except (LookupError, ValueError):
        return ""
    if codec.name in _NO_ENCODINGS or not codec._is_text_encoding:
        return ""
    return _MEANT.get(codec.name, codec.name)


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeError:
        return False
    return True
