"""Documents within documents: attachments of mail, members of archives."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from email.message import EmailMessage

import msgspec
import pytest

from doctrain_worker.pipeline.child.source import DEEPEST, MOST_PARTS
from doctrain_worker.pipeline.wire import Slice
from doctrain_worker.sandbox.child.refusal import Refusal
from doctrain_worker.text.part_names import LONGEST, part_name
from testkit import documents, outlook
from testkit.office_documents import archive
from testkit.reading import LIMITS, read, text, unread


def mail(subject: str, body: str) -> EmailMessage:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = subject, "Ann <ann@example.org>", "board@example.org"
    message.set_content(body)
    return message


def parts(content: bytes, **fields: object) -> dict[str, str]:
    """The text of each part."""
    found = read(content, **fields)  # type: ignore[arg-type]
    said: dict[str, str] = {}
    for one in found:
        if isinstance(one, Slice) and one.blocks:
            said[one.part] = "\n\n".join(filter(None, [said.get(one.part), *(block.text for block in one.blocks)]))
    return said


def test_a_mail_is_its_head_its_body_and_its_attachments() -> None:
    message = mail("Crane & quay", "Dear all,\n\nthe crane works.\n")
    message.add_attachment(documents.pdf([["Report of the crane."]]), maintype="application", subtype="pdf", filename="report.pdf")
    message.add_attachment("a;b\n1;2\n", filename="list.csv", subtype="csv")
    message.add_attachment("a;b\n3;4\n", filename="list.csv", subtype="csv")
    assert parts(message.as_bytes()) == {
        "": "# Crane & quay\n\nFrom: Ann <ann@example.org>\nTo: board@example.org\n\nDear all,\n\nthe crane works.",
        "report.pdf": "Report of the crane.",
        "list.csv": "| a | b |\n| --- | --- |\n| 1 | 2 |",
        "list.csv (2)": "| a | b |\n| --- | --- |\n| 3 | 4 |",
    }


def test_a_mail_in_two_forms_is_read_once() -> None:
    message = mail("Twice", "In plain words.")
    message.add_alternative("<p>In <b>marked up</b> words.</p>", subtype="html")
    message.add_attachment(b"More.", maintype="text", subtype="plain", filename="more.txt")
    assert list(parts(message.as_bytes())) == ["", "more.txt"]
    assert "plain words" in text(message.as_bytes())
    assert "marked up" not in text(message.as_bytes())


def test_a_mail_in_html_only_and_in_an_encoding_that_it_misnames() -> None:
    message = EmailMessage()
    message["From"] = "ann@example.org"
    message.set_content("<p>Größe</p><script>x()</script>", subtype="html")
    assert text(message.as_bytes()).endswith("\n\nGröße")
    wrong = b'From: a@b\nContent-Type: text/plain; charset="us-ascii"\n\n' + "Übergrößen müssen geprüft werden.".encode("cp1252")
    assert text(wrong).endswith("Übergrößen müssen geprüft werden.")


def test_mails_and_archives_in_a_mail_have_parts_of_their_own() -> None:
    inner = mail("Inner", "Words within.")
    inner.add_attachment(b"Deep words.", maintype="text", subtype="plain", filename="deep.txt")
    outer = mail("Outer", "See below.")
    outer.add_attachment(inner)
    outer.add_attachment(archive({"docs/a.txt": "Packed words."}), maintype="application", subtype="zip", filename="all.zip")
    found = parts(outer.as_bytes(), limits=msgspec.structs.replace(LIMITS, archives=True))
    assert list(found) == ["", "part-2.eml", "part-2.eml/deep.txt", "all.zip/docs/a.txt"]
    assert found["part-2.eml/deep.txt"] == "Deep words."


def test_outlook_mail() -> None:
    content = outlook.msg("Crane & quay", "The crane works.", [("list.csv", b"a,b\n1,2\n"), ("large.txt", b"Many words. " * 1000)])
    found = parts(content)
    assert found[""] == "# Crane & quay\n\nThe crane works."
    assert found["list.csv"].startswith("| a | b |")
    assert found["large.txt"].count("Many") == 1000


def test_a_part_that_cannot_be_read_is_told_and_the_rest_is_read() -> None:
    message = mail("Mixed", "Body.")
    for name, content in {
        "locked.pdf": documents.encrypted_pdf(),
        "cut.pdf": documents.pdf([["x"]])[:200],
        "empty.txt": b"",
        "tool.exe": b"MZ\0\0",
        "all.zip": archive({"a.txt": "x"}),
        "good.txt": b"Good words.",
    }.items():
        message.add_attachment(content, maintype="application", subtype="octet-stream", filename=name)
    found = read(message.as_bytes())
    assert unread(found) == {
        "locked.pdf": "ENCRYPTED",
        "cut.pdf": "CORRUPT",
        "empty.txt": "EMPTY",
        "tool.exe": "UNSUPPORTED",
        "all.zip": "UNSUPPORTED",
    }
    assert "good.txt" in parts(message.as_bytes())


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gzip", "bzip2", "xz"])
@pytest.mark.parametrize("times", [1, 20_000])
def test_what_is_sound_of_a_compressed_file_is_read(pack: Callable[[bytes], bytes], times: int) -> None:
    packed, asked = pack(b"Words. " * times), "application/gzip; unpack"
    for behind in (b"garbage behind it", bytes(512), pack(b"")):
        assert parts(packed + behind, claimed=asked, name="a.txt.gz") == {"a.txt": ("Words. " * times).strip()}


def test_damage_within_a_compressed_file_is_told() -> None:
    packed, asked = gzip.compress(b"Words. " * 20_000), "application/gzip; unpack"
    for damaged in (packed[:-8] + bytes(8), packed[:-9], packed + packed[:-9]):
        assert unread(read(damaged, asked, "a.txt.gz")) == {"a.txt": "CORRUPT"}


def test_an_archive_is_read_when_its_media_type_asks_for_it() -> None:
    content = archive({"a.txt": "First.", "b/c.md": "# Second", "../../etc/d.txt": "Third.", "b/": ""})
    with pytest.raises(Refusal, match="archive"):
        read(content, "application/zip")
    assert parts(content, claimed="application/zip; unpack=true") == {"a.txt": "First.", "b/c.md": "# Second", "etc/d.txt": "Third."}


@pytest.mark.parametrize("mode", ["w:", "w:gz", "w:bz2", "w:xz"])
def test_files_in_a_tar_archive_are_read_and_nothing_else(mode: str) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as made:  # type: ignore[call-overload]
        member = tarfile.TarInfo("a.txt")
        member.size = 6
        made.addfile(member, io.BytesIO(b"First."))
        for name, kind in (("link", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE), ("disk", tarfile.BLKTYPE), ("folder", tarfile.DIRTYPE)):
            other = tarfile.TarInfo(name)
            other.type, other.linkname = kind, "/etc/passwd"
            made.addfile(other)
    assert parts(out.getvalue(), claimed="application/x-tar; unpack=true") == {"a.txt": "First."}


def test_no_member_of_an_archive_of_pdfs_is_lost() -> None:
    first, second = documents.pdf([["First page."]]), documents.pdf([["Second page."]])
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, content in (("a.pdf", first), ("b.pdf", second), ("c.txt", b"Third.")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    expected = {"a.pdf": "First page.", "b.pdf": "Second page.", "c.txt": "Third."}
    assert parts(out.getvalue(), claimed="application/x-tar; unpack") == expected
    assert parts(archive({"a.pdf": first, "b.pdf": second, "c.txt": "Third."}), claimed="application/zip; unpack") == expected
    found = read(archive({"cut.pdf": first[:200], "c.txt": "Third."}), "application/zip; unpack")
    assert unread(found) == {"cut.pdf": "CORRUPT"}


def test_an_attachment_that_is_not_encoded() -> None:
    pdf = documents.pdf([["Report of the crane."]])
    head = b"From: a@b\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: application/pdf; name=r.pdf\n"
    mail = head + b"Content-Transfer-Encoding: binary\n\n" + pdf + b"\n--x--\n"
    assert parts(mail)["r.pdf"] == "Report of the crane."


@pytest.mark.parametrize(
    ("pack", "ending"), [(gzip.compress, ".gz"), (bz2.compress, ".bz2"), (lzma.compress, ".xz")], ids=["gzip", "bzip2", "xz"]
)
def test_a_file_that_is_compressed_by_itself_is_its_one_document(pack: Callable[[bytes], bytes], ending: str) -> None:
    asked = "application/gzip; unpack"
    assert parts(pack(b"# Words"), claimed=asked, name=f"notes.md{ending}") == {"notes.md": "# Words"}
    assert parts(pack(documents.pdf([["A page."]])), claimed=asked, name="report") == {"report": "A page."}
    limits = msgspec.structs.replace(LIMITS, bytes=1000)
    assert unread(read(pack(bytes(1 << 20)), asked, "bomb.gz", limits=limits)) == {"bomb": "TOO_LARGE"}
    assert list(unread(read(pack(b""), asked)).values()) == ["EMPTY"]
    with pytest.raises(Refusal, match="damaged"):
        read(pack(b"Words.")[:12], asked)


def test_nesting_size_and_number_of_parts_are_bounded() -> None:
    content = b"Innermost."
    for depth in range(DEEPEST + 2):
        content = archive({f"{depth}.{'zip' if depth else 'txt'}": content})
    limits = msgspec.structs.replace(LIMITS, archives=True, bytes=1000)
    assert list(unread(read(content, limits=msgspec.structs.replace(limits, bytes=1 << 20))).values()) == ["TOO_DEEP"]
    sizes = archive({"a.txt": "word " * 150, "b.txt": "word " * 150, "c.txt": "few"}, packed=True)
    assert unread(read(sizes, limits=limits)) == {"b.txt": "TOO_LARGE"}
    with pytest.raises(Refusal) as refused:
        read(archive({f"{n}.txt": "x" for n in range(MOST_PARTS + 1)}), limits=msgspec.structs.replace(limits, bytes=1 << 20))
    assert refused.value.code == "TOO_MANY_PARTS"


def test_names_of_parts_lead_nowhere_and_are_each_once() -> None:
    taken: set[str] = set()
    names = ["../../a.txt", "a.txt", "/b//c", "C:\\x\\y", "", "\0\n", "x" * 500, "\udcff"]
    assert [part_name(name, taken) for name in names] == ["a.txt", "a.txt (2)", "b/c", "C:/x/y", "part", "part (2)", "x" * LONGEST, "?"]
