"""Versions of the recipe go with what the stages make: the index and what is kept of documents go by them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from doctrain_worker.pipeline import recipe
from doctrain_worker.pipeline.child.chunk import chunk
from doctrain_worker.pipeline.plugins import Stages
from doctrain_worker.pipeline.processor import DocumentTask
from doctrain_worker.pipeline.recipe import Recipes
from doctrain_worker.pipeline.wire import Slice
from testkit.limits import LIMITS
from testkit.reading import read

CORPUS = Path(__file__).parents[3] / "corpus"
DOCUMENTS = (
    *("beach-survey.docx", "beekeeping-calendar.html", "bicycle-repair.pdf", "council-minutes.txt", "market-stall.eml"),
    *("orchard-harvest.xlsx", "sourdough.md", "village-choir.pptx", "water-report.pdf"),
)
"""None that is recognised: what OCR makes of a page is another's to change."""

READ = {1: "769c5e1fddeb0b0d", 2: "769c5e1fddeb0b0d", 3: "769c5e1fddeb0b0d", 4: "df3014220a1c358a"}
"""What each version of the stage ``read`` makes of them.

The second finds types and encodings, the third headings with rules below them, that these have not. The fourth keeps the last line of
the page of HTML.
"""

CUT = {
    (1, 1): "c148013b06ac5fff",
    (1, 2): "c148013b06ac5fff",
    (2, 2): "c148013b06ac5fff",
    (3, 2): "c148013b06ac5fff",
    (4, 2): "d0935e78849f926b",
}
"""What versions of ``read`` and ``chunk`` make of them together."""


def slices() -> list[Slice]:
    return [found for name in DOCUMENTS for found in read((CORPUS / name).read_bytes(), name=name) if isinstance(found, Slice)]


def digest(made: object) -> str:
    return hashlib.sha256(msgspec.msgpack.encode(made)).hexdigest()[:16]


def test_a_stage_that_makes_something_else_has_another_version() -> None:
    found = slices()
    blocks = [
        (one.part, one.first_page, block.kind, block.text, block.start, block.page, block.cells) for one in found for block in one.blocks
    ]
    assert digest(blocks) == READ.get(recipe.READING), "raise recipe.READING, and write this digest beside its number in READ"
    assert digest(list(chunk(found))) == CUT.get((recipe.READING, recipe.CUTTING)), (
        "raise recipe.CUTTING or READING, and write this digest in CUT"
    )


def test_another_way_to_cut_is_another_recipe_but_no_other_way_to_read() -> None:
    document = DocumentTask(0, "a", "blob://a", "text/plain")
    ours, theirs = (Recipes(Stages(chunk=name), "minilm", LIMITS.reading) for name in ("a:b", "c:d"))
    assert ours.of(document) != theirs.of(document)
    assert ours.of_reading(document) == theirs.of_reading(document)
    other = msgspec.structs.replace(LIMITS.reading, languages="fra")
    assert Recipes(Stages(), "minilm", other).of_reading(document) != Recipes(Stages(), "minilm", LIMITS.reading).of_reading(document)


def test_where_the_bytes_of_an_upload_lie_changes_no_recipe_and_a_name_that_tells_a_type_does() -> None:
    recipes = Recipes(Stages(), "minilm", LIMITS.reading)
    alone, packed, named = (DocumentTask(0, "a", uri) for uri in ("blob://0f", "blob://1e/512/88", "s3://b/a.csv"))
    assert recipes.of(alone) == recipes.of(packed) != recipes.of(named)
