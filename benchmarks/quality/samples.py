"""A folder of documents with what must be found in each: ``MANIFEST.tsv`` and ``QUERIES.tsv``, whose form docs/quality.md gives."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

FAILS = "fails:"
REASONS = {
    "encrypted": {"ENCRYPTED"},
    "corrupt": {"CORRUPT"},
    "empty": {"EMPTY"},
    "wrong-type": {"WRONG_TYPE", "UNSUPPORTED"},
    "unsupported": {"UNSUPPORTED"},
    "too-large": {"TOO_LARGE", "TOO_MANY_PAGES", "TOO_MANY_PARTS"},
    "no-text": {"NO_TEXT"},
}
"""What a manifest calls the reason of a failure, and the codes that it may be."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A document.

    Args:
        path: where it is.
        phrases: what must be found in its text.
        ordered: whether in that order.
        expected: ``ok``, ``ok-with-ocr``, ``ok-empty`` or ``fails:`` and a reason.
    """

    path: Path
    phrases: tuple[str, ...]
    ordered: bool
    expected: str

    def is_as_expected(self, code: str, *, recognised: bool, empty: bool) -> bool:
        """Whether a document may end with this code, with or without OCR, with or without a word."""
        if self.expected.startswith(FAILS):
            reason = self.expected.removeprefix(FAILS)
            return code in REASONS.get(reason, {reason.upper().replace("-", "_")})
        return code == "OK" and (self.expected != "ok-with-ocr" or recognised) and empty == (self.expected == "ok-empty")


@dataclass(frozen=True, slots=True)
class Query:
    """A question, the document that must be found for it, and the page in that; 0: any."""

    text: str
    file: str
    page: int = 0


def queries(path: Path) -> list[Query]:
    """What a file of questions names; nothing where there is none."""
    if not path.is_file():
        return []
    return [Query(row["query"], row["file"], int(row.get("page") or 0)) for row in _rows(path, {"file", "query"})]


def samples(folder: Path, manifest: Path) -> list[Sample]:
    """What a manifest names. Raises SystemExit that says what is wrong with it."""
    if not manifest.is_file():
        raise SystemExit(f"There is no {manifest}; docs/quality.md says what stands in it.")
    return [_sample(folder, row) for row in _rows(manifest, {"file", "phrases", "expected"})]


def _rows(path: Path, columns: set[str]) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    names = [name.partition(" ")[0] for name in rows[0]] if rows else []
    if not columns <= set(names):
        raise SystemExit(f"The first line of {path} must name the columns {', '.join(sorted(columns))}.")
    return [dict(zip(names, row, strict=False)) for row in rows[1:] if row]


def _sample(folder: Path, row: dict[str, str]) -> Sample:
    phrases = tuple(phrase.strip() for phrase in row["phrases"].split(" | ") if phrase.strip())
    return Sample(folder / row["file"], phrases, row.get("order", "") == "listed", row["expected"].strip())
