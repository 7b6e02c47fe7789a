"""Pages without text, read by OCR."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from PIL import Image

from doctrain_worker.pipeline.child.formats import ocr_data
from doctrain_worker.pipeline.wire import Slice
from doctrain_worker.sandbox.child.refusal import Refusal
from testkit import documents, pictures
from testkit.reading import LIMITS, read, text

LINES = ["The harbour master keeps the register", "of all ships that entered the port", "between sunrise and sunset."]
SAID = " ".join(LINES)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "PDF"])
def test_a_picture_of_a_page_says_what_stands_on_it(kind: str) -> None:
    assert text(pictures.saved(pictures.page(LINES), kind)) == SAID


@pytest.mark.parametrize("turned", [90, 180, 270])
def test_a_page_that_lies_on_its_side_is_read_too(turned: int) -> None:
    assert text(pictures.saved(pictures.page(LINES, turned=turned), "PNG")) == SAID


def test_a_small_picture_is_made_larger_first() -> None:
    small = pictures.page(LINES).resize((620, 877), Image.Resampling.LANCZOS)
    assert text(pictures.saved(small, "PNG")) == SAID


def test_a_transparent_picture_is_on_white() -> None:
    clear = Image.new("RGBA", pictures.A4, (0, 0, 0, 0))
    ink = pictures.page(LINES).convert("L").point(lambda shade: 255 - shade)
    clear.paste((0, 0, 0, 255), mask=ink)
    assert text(pictures.saved(clear, "PNG")) == SAID


@pytest.mark.parametrize("kind", ["TIFF", "PDF"])
def test_each_page_is_told_and_empty_ones_are_counted(kind: str) -> None:
    pages = [pictures.page([f"Words of page {number}"]) if number != 3 else pictures.page([]) for number in range(1, 6)]
    found = [one for one in read(pictures.saved(pages[0], kind, pages[1:])) if isinstance(one, Slice)]
    assert [(one.first_page, one.last_page, one.recognised, one.blank) for one in found] == [(1, 4, 4, 1), (5, 5, 1, 0)]
    assert [(block.page, block.text) for one in found for block in one.blocks] == [(n, f"Words of page {n}") for n in (1, 2, 4, 5)]


def test_only_pages_without_text_are_recognised() -> None:
    scan = documents.with_picture(documents.pdf([["Some words here in the text layer of this page."], []]), pictures.page(LINES))
    found = [one for one in read(scan) if isinstance(one, Slice)]
    assert [one.recognised for one in found] == [1]
    assert [block.text for one in found for block in one.blocks] == ["Some words here in the text layer of this page.", SAID]
    assert len(read(documents.pdf([["Words"], []]))) == 1


def test_an_empty_scan_is_no_error() -> None:
    (found,) = read(pictures.saved(pictures.page([]), "PNG"))
    assert isinstance(found, Slice)
    assert (found.blocks, found.blank) == ([], 1)


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_unpacked() -> None:
    with pytest.raises(Refusal, match="20,000 times 20,000 pixels") as refused:
        read(pictures.saved(Image.new("1", (20_000, 20_000)), "PNG"))
    assert (refused.value.code, refused.value.resource) == ("TOO_LARGE", True)


def test_the_languages_that_are_set_are_recognised() -> None:
    told = "Der Kran hebt große Körbe über die Häuser."
    picture = pictures.saved(pictures.printed(documents.drawn_pdf(f"BT /F1 16 Tf 72 720 Td ({told}) Tj ET")), "PNG")
    assert recognised(picture, "deu") == told
    assert not set(recognised(picture, "eng")) & set("äöß")


def recognised(picture: bytes, languages: str) -> str:
    (found,) = read(picture, limits=msgspec.structs.replace(LIMITS, languages=languages))
    assert isinstance(found, Slice)
    return " ".join(block.text for block in found.blocks)


def test_languages_may_be_in_several_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = ocr_data.files("eng+deu")
    for name, source in (("one/deu", "deu"), ("two/eng", "eng"), ("two/script/Latin", "eng")):
        path = tmp_path / f"{name}.traineddata"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(ours[f"{source}.traineddata"])
    monkeypatch.setattr(ocr_data, "_FOLDERS", (str(tmp_path / "one"), str(tmp_path / "two")))
    assert recognised(pictures.saved(pictures.page(LINES), "PNG"), "deu+eng+script/Latin") == SAID


def test_a_language_is_loaded_by_the_first_page_and_by_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "once.traineddata"
    data.symlink_to(ocr_data.files("eng")["eng.traineddata"])
    monkeypatch.setattr(ocr_data, "_FOLDERS", (str(tmp_path),))
    first = recognised(pictures.saved(pictures.page(LINES), "PNG"), "once")
    data.unlink()
    assert first == recognised(pictures.saved(pictures.page(LINES), "PNG"), "once") == SAID


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_a_picture_that_is_cut_off_is_damaged(kind: str) -> None:
    whole = pictures.saved(pictures.page(LINES), kind)
    with pytest.raises(Refusal) as refused:
        read(whole[: len(whole) // 2])
    assert refused.value.code == "CORRUPT"
