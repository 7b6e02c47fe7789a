"""Reading in a real child, call by call."""

from __future__ import annotations

import msgspec

from doctrain_worker.pipeline.wire import Slice
from testkit import pictures
from testkit.parsers import parsers


async def test_a_long_scan_takes_many_calls_and_its_slices_may_be_handed_back() -> None:
    pages = [pictures.page([f"These are words of page {number}"]) for number in range(1, 11)]
    scan = pictures.saved(pages[0], "TIFF", pages[1:])
    async with parsers() as reader:
        first = await reader.read(scan)
        assert [(one.first_page, one.last_page) for one in first.slices] == [(1, 4), (5, 8), (9, 10)]
        assert first.facts["ocr"] == {"pages": 10}
        assert "words of page 6" in "".join(chunk.text for chunk in first.chunks)

        marked = msgspec.msgpack.decode(first.slices[1].value, type=Slice)
        marked.blocks[1].text = "These are words of another reading"
        kept = [first.slices[0], msgspec.structs.replace(first.slices[1], value=msgspec.msgpack.encode(marked))]
        second = await reader.read(scan, kept=kept)
    assert [(one.first_page, one.last_page) for one in second.slices] == [(9, 10)]
    assert second.facts["ocr"] == {"pages": 2}
    assert second.facts["extract"]["pages_kept"] == 8
    text = "".join(chunk.text for chunk in second.chunks)
    assert "words of another reading" in text
    assert "words of page 6" not in text


async def test_a_small_document_takes_one_call_and_its_stages_are_told() -> None:
    async with parsers() as reader:
        found = await reader.read(b"# A title\n\nWords below it.\n")
    assert [(chunk.heading, chunk.text, chunk.page, chunk.part) for chunk in found.chunks] == [
        ("A title", "# A title\n\nWords below it.", 0, "")
    ]
    assert found.media_type == "text/plain"
    assert found.facts == {
        "detect": {"media_type": "text/plain"},
        "extract": {"bytes": 27, "characters": 26},
        "chunk": {"chunks": 1},
    }


async def test_parts_are_told_in_chunks_and_facts() -> None:
    mail = (
        b"From: a@b\nSubject: News\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\nBody.\n"
        b"--x\nContent-Disposition: attachment; filename=a.txt\n\nAttached words.\n"
        b"--x\nContent-Disposition: attachment; filename=b.txt\n\n\n--x--\n"
    )
    async with parsers() as reader:
        found = await reader.read(mail)
    assert [(chunk.part, chunk.start, chunk.text) for chunk in found.chunks if chunk.part] == [("a.txt", 0, "Attached words.")]
    assert found.facts["extract"] | {"bytes": 0, "characters": 0} == {
        "bytes": 0,
        "characters": 0,
        "parts": 1,
        "unread_parts": 1,
        "unread": "b.txt: EMPTY",
    }


async def test_a_document_of_nothing_but_parts_that_cannot_be_read_fails_as_they_do() -> None:
    mail = b"From: a@b\nContent-Type: multipart/mixed; boundary=x\n\n--x\nContent-Disposition: attachment; filename=b.txt\n\n\n--x--\n"
    async with parsers() as reader:
        found = await reader.read(mail)
        assert found.facts["extract"]["unread"] == "b.txt: EMPTY"
        silent = await reader.read(b"<html><body><script>x()</script></body></html>")
        assert silent.code == "NO_TEXT"
        empty = await reader.read(pictures.saved(pictures.page([]), "PNG"))
    assert (empty.chunks, empty.facts["extract"]["pages_without_text"]) == ([], 1)
