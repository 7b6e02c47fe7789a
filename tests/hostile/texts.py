"""Text that means harm: too deep, too long, or in no encoding at all."""

from __future__ import annotations

import random
from collections.abc import Iterator

from hostile.document import DAMAGE, LIMITS, OK, Hostile, hostile
from testkit import office_documents

DEEP = 30_000
MANY = 1 << 16


def deep() -> Iterator[Hostile]:
    """Elements within one another, to any depth."""
    for count in (2000, DEEP):
        yield hostile("deep", f"{count} div.html", b"<html><body>" + b"<div>" * count + b"words" + b"</div>" * count, OK, LIMITS)
        yield hostile("deep", f"{count} font.html", b"<html><body><p>" + b"<font>" * count + b"words", OK, LIMITS)
        yield hostile("deep", f"{count} list.html", b"<html><body>" + b"<ul><li>x" * count, OK, LIMITS)
        yield hostile("deep", f"{count} table.html", b"<html><body>" + b"<table><tr><td>x" * count, OK, LIMITS)
        yield hostile("deep", f"{count}.xml", b"<?xml version='1.0'?>" + b"<a>" * count + b"words" + b"</a>" * count, OK, LIMITS, DAMAGE)
        yield hostile("deep", f"{count}.json", b"[" * count + b'"words"' + b"]" * count, OK, LIMITS)
        yield hostile("deep", f"{count} names.json", b'{"a":' * count + b'"words"' + b"}" * count, OK, LIMITS)
        yield hostile("deep", f"{count}.rtf", b"{\\rtf1 " + b"{" * count + b"words" + b"}" * count + b"}", OK, LIMITS)
        body = "<w:tbl><w:tr><w:tc>" * count + "<w:p><w:r><w:t>words</w:t></w:r></w:p>" + "</w:tc></w:tr></w:tbl>" * count
        yield hostile("deep", f"{count}.docx", office_documents.docx(body), OK, LIMITS, DAMAGE)
        body = "<text:list><text:list-item>" * count + "<text:p>words</text:p>" + "</text:list-item></text:list>" * count
        yield hostile("deep", f"{count}.odt", office_documents.odt(body), OK, LIMITS, DAMAGE, "CRASHED")
        content = b"From: a@b\n" + b"".join(
            b"Content-Type: multipart/mixed; boundary=%d\n\n--%d\n" % (n, n) for n in range(min(count, 20_000))
        )
        yield hostile("deep", f"{count} parts.eml", content + b"\nwords", OK, LIMITS, DAMAGE)


def long() -> Iterator[Hostile]:
    """Lines, cells and words without end."""
    yield hostile("long", "word.txt", b"a" * (4 * MANY), OK, LIMITS)
    yield hostile("long", "lines.txt", b"a\n" * MANY, OK, LIMITS)
    yield hostile("long", "blocks.md", b"a\n\n" * MANY, OK, LIMITS)
    yield hostile(
        "long", "marks.md", b"# " + b"\t" * MANY + b"#\n" + b"#" * MANY + b"\n" + b"|" * MANY + b"\n" + b"|-" * MANY, OK, LIMITS, DAMAGE
    )
    yield hostile("long", "quote.csv", b'a,b\n"' + b"x,y\n" * MANY, OK, LIMITS)
    yield hostile("long", "columns.csv", b"a,b\n" * 500 + b"," * MANY + b"x\n" + b"a,b\n" * 500, OK, LIMITS)
    yield hostile("long", "spans.html", b"<table>" + b"<tr><td colspan=99999 rowspan=99999>x</td></tr>" * 3000, OK, LIMITS)
    yield hostile("long", "attributes.html", b"<html><body><p " + b"a=1 " * MANY + b">words</p>", OK, LIMITS)
    yield hostile("long", "open.html", b"<html><body>" + b"<b" * MANY + b"words", OK, LIMITS, DAMAGE)
    yield hostile("long", "heads.eml", b"From: a@b\n" + b"X-A: b\n" * 100_000 + b"\nwords", OK, LIMITS)
    yield hostile("long", "to.eml", b"From: a@b\nTo: " + b"a@b, " * 200_000 + b"\n\nwords", OK, LIMITS)
    yield hostile("long", "words.eml", b"From: a@b\nSubject: " + b"=?utf-8?q?a?= " * 100_000 + b"\n\nwords", OK, LIMITS)
    yield hostile("long", "lists.rtf", b"{\\rtf1 " + b"\\par \\bullet " * 50_000 + b"words}", OK, LIMITS)
    cells = [["x"] * 16 for _ in range(10_000)]
    yield hostile("long", "cells.xlsx", office_documents.xlsx({"S": cells}), OK, LIMITS)


def scrambled() -> Iterator[Hostile]:
    """Bytes in no encoding, or in one that is misnamed."""
    chance = random.Random(7)
    for number in range(12):
        content = bytes(chance.choices(range(9, 256), k=3000))
        foreign = "UNSUPPORTED", "WRONG_TYPE"
        yield hostile("scrambled", f"{number}.txt", content, OK, DAMAGE, *foreign)
        yield hostile("scrambled", f"{number}.html", b"<html><meta charset=utf-16>" + content, OK, DAMAGE, *foreign)
        head = b"From: a@b\nContent-Type: text/html; charset=nonsense\n\n" + b" " * 4096
        yield hostile("scrambled", f"{number}.eml", head + content, OK, DAMAGE)
    yield hostile("scrambled", "surrogates.json", b'{"a": "\\ud800 words", "\\u0000": "b"}', OK)
    yield hostile("scrambled", "wide.txt", "words ".encode("utf-32"), OK, "UNSUPPORTED", "WRONG_TYPE", DAMAGE)
