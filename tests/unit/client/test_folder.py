"""Which files of a folder are documents, and how a manifest names them."""

import json
from pathlib import Path

import pytest

from doctrain import folder
from doctrain.v1.training_pb2 import DocumentInput


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.pdf", "a.md", "deep/er/c.txt", ".hidden", ".git/config", "deep/empty.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("" if "empty" in name else name)
    return tmp_path


def test_hidden_files_are_left_out_and_empty_ones_are_set_apart(tree: Path) -> None:
    found = folder.scan(tree)
    assert [path.relative_to(tree).as_posix() for path in found.files] == ["a.md", "b.pdf", "deep/er/c.txt"]
    assert [path.name for path in found.empty] == ["empty.txt"]


def test_a_pattern_chooses(tree: Path) -> None:
    assert [path.name for path in folder.scan(tree, "**/*.txt").files] == ["c.txt"]
    assert [path.name for path in folder.scan(tree, "*.pdf").files] == ["b.pdf"]


def test_nothing_to_train_is_said_in_a_sentence(tree: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"No file in .* matches '\*\.docx'"):
        folder.scan(tree, "*.docx")
    with pytest.raises(NotADirectoryError, match="is not a folder"):
        folder.scan(tree / "a.md")


def test_a_document_is_named_by_its_path_below_the_folder(tree: Path) -> None:
    document = folder.describe(tree, tree / "deep/er/c.txt", "blob://x")
    assert document == DocumentInput(document_id="deep/er/c.txt", uri="blob://x", media_type="text/plain")


def test_a_manifest_is_one_json_line_a_document() -> None:
    documents = [
        DocumentInput(document_id="é\n", uri="s3://b/1", media_type="text/plain", metadata={"k": "v"}),
        DocumentInput(document_id="2", uri="s3://b/2"),
    ]
    lines = folder.manifest(documents).decode().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"document_id": "é\n", "uri": "s3://b/1", "media_type": "text/plain", "metadata": {"k": "v"}},
        {"document_id": "2", "uri": "s3://b/2"},
    ]
    with pytest.raises(ValueError, match="upload its bytes first"):
        folder.manifest([DocumentInput(document_id="3", content=b"x")])
