"""Which files of a folder are documents, and how a manifest names them."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from doctrain import folder
from doctrain.errors import UsageError
from doctrain.v1.training_pb2 import DocumentInput


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.pdf", "a.md", "deep/er/c.txt", ".hidden", ".git/config", "deep/empty.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("" if "empty" in name else name)
    return tmp_path


def names(found: folder.Scan) -> list[str]:
    return [path.relative_to(found.root).as_posix() for path in found.files]


def reasons(found: folder.Scan) -> dict[str, str]:
    return {os.fsencode(one.path.relative_to(found.root)).decode("latin-1"): one.reason for one in found.skipped}


def test_hidden_files_are_left_out_and_empty_ones_are_told(tree: Path) -> None:
    found = folder.scan(tree)
    assert names(found) == ["a.md", "b.pdf", "deep/er/c.txt"]
    assert reasons(found) == {"deep/empty.txt": "It is empty."}


@pytest.mark.parametrize(
    ("pattern", "chosen"),
    [
        ("**/*.txt", ["deep/er/c.txt"]),
        ("*.pdf", ["b.pdf"]),
        ("deep/**", ["deep/er/c.txt"]),
        ("**", ["a.md", "b.pdf", "deep/er/c.txt"]),
        ("*/er/*", ["deep/er/c.txt"]),
        ("**/er/**/c.*", ["deep/er/c.txt"]),
        ("[ab].*", ["a.md", "b.pdf"]),
    ],
)
def test_a_pattern_chooses(tree: Path, pattern: str, chosen: list[str]) -> None:
    assert names(folder.scan(tree, pattern)) == chosen


def test_nothing_to_train_is_said_in_a_sentence(tree: Path) -> None:
    with pytest.raises(UsageError, match=r"No file in .* matches '\*\.docx'"):
        folder.scan(tree, "*.docx")
    with pytest.raises(UsageError, match="There is no file or folder"):
        folder.scan(tree / "none")
    for outside in ("../*", "/etc/*", ""):
        with pytest.raises(UsageError, match="does not stay within the folder"):
            folder.scan(tree, outside)


def test_one_file_is_a_folder_of_one(tree: Path) -> None:
    assert names(folder.scan(tree / "deep/er/c.txt")) == ["c.txt"]
    assert folder.scan(tree / "deep/empty.txt").skipped == (folder.Skipped(tree / "deep/empty.txt", "It is empty."),)


def test_names_that_the_service_would_refuse_are_left_out(tmp_path: Path) -> None:
    for name in (b"\xff.txt", b"new\nline.txt", b"tab\t.txt", b"good \xc3\xa9.txt"):
        (tmp_path / os.fsdecode(name)).write_text("x")
    deep = tmp_path / ("x" * 200) / ("y" * 200) / ("z" * 200)
    deep.mkdir(parents=True)
    (deep / "long.txt").write_text("x")
    found = folder.scan(tmp_path)
    assert names(found) == ["good é.txt"]
    assert set(reasons(found).values()) == {
        "Its name is not UTF-8.",
        "Its name contains line breaks, tabs or other characters that cannot be shown.",
        "Its path is longer than 512 bytes.",
    }
    assert [folder.shown(one.path)[-5:] for one in found.skipped if "UTF-8" in one.reason] == ["\N{REPLACEMENT CHARACTER}.txt"]


def test_links_are_followed_to_files_within_the_folder_only(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub/file.txt").write_text("x")
    (tmp_path / "root-secret.txt").write_text("secret")
    for name, target in (
        ("inside.txt", root / "sub/file.txt"),
        ("outside.txt", tmp_path / "root-secret.txt"),
        ("relative.txt", Path("../root-secret.txt")),
        ("broken.txt", root / "none.txt"),
        ("loop.txt", root / "loop.txt"),
        ("folder", root / "sub"),
        ("away", tmp_path),
    ):
        (root / name).symlink_to(target)
    os.mkfifo(root / "pipe")
    found = folder.scan(root)
    assert names(found) == ["inside.txt", "sub/file.txt"]
    out = "It is a link that leads out of the folder."
    assert reasons(found) == {
        "outside.txt": out,
        "relative.txt": out,
        "away": out,
        "broken.txt": "It is a link to a file that does not exist.",
        "loop.txt": "It is a link to a file that does not exist.",
        "folder": "It is a link to a folder; such links are not followed.",
        "pipe": "It is no regular file.",
    }
    (tmp_path / "link").symlink_to(root)
    assert names(folder.scan(tmp_path / "link", "*.txt")) == ["inside.txt"], "the folder itself may be named by a link"


def test_what_cannot_be_read_is_told_and_not_taken_for_nothing(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "b.pdf").chmod(0)
    (tree / "deep/er").chmod(0)
    tree.chmod(0o755)
    monkeypatch.chdir(tree)  # those above belong to whoever runs the tests
    user = os.geteuid()
    try:
        if user == 0:  # who may read everything
            os.seteuid(65534)
        found = folder.scan(".")
    finally:
        os.seteuid(user)
        (tree / "deep/er").chmod(0o755)
    assert names(found) == ["a.md"]
    assert reasons(found) == {
        "b.pdf": "It cannot be read: Permission denied.",
        "deep/empty.txt": "It is empty.",
        "deep/er": "The folder cannot be read: Permission denied.",
    }


def test_the_error_of_strictness_names_ten_and_counts_the_rest() -> None:
    said = str(folder.refuse([folder.Skipped(Path(f"f/\x1b{n}"), "It is empty.") for n in range(12)]))
    assert said.splitlines()[:2] == [
        "12 files cannot be trained, so nothing was started:",
        "  f/\N{REPLACEMENT CHARACTER}0: It is empty.",
    ]
    assert said.splitlines()[-1] == "  and 2 more"


def test_a_document_is_named_by_its_path_below_the_folder(tree: Path) -> None:
    document = folder.describe(folder.scan(tree), tree / "deep/er/c.txt", "blob://x")
    assert document == DocumentInput(document_id="deep/er/c.txt", uri="blob://x", media_type="text/plain")


def test_a_prefix_keeps_folders_apart_and_counts_as_part_of_the_name(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    found = folder.scan(tmp_path, labels=folder.Labels("2026/"))
    assert folder.describe(found, tmp_path / "a.txt", "blob://x").document_id == "2026/a.txt"
    alone = folder.scan(tmp_path / "a.txt", labels=folder.Labels("2026/"))
    assert folder.describe(alone, tmp_path / "a.txt", "blob://x").document_id == "2026/a.txt"
    too_long = folder.scan(tmp_path, labels=folder.Labels("x" * 510))
    assert [one.reason for one in too_long.skipped] == ["Its path is longer than 512 bytes."]
    with pytest.raises(UsageError, match="cannot be the beginning of names"):
        folder.scan(tmp_path, labels=folder.Labels("a\n"))


def test_labels_go_to_every_document_and_archives_are_marked_to_be_unpacked(tmp_path: Path) -> None:
    for name in ("a.txt", "b.zip", "c.tar.gz"):
        (tmp_path / name).write_text("x")

    def types(**labels: Any) -> list[str]:
        found = folder.scan(tmp_path, labels=folder.Labels(metadata={"year": "2026"}, **labels))
        described = [folder.describe(found, path, "blob://x") for path in found.files]
        assert all(document.metadata == {"year": "2026"} for document in described)
        return [document.media_type for document in described]

    assert types() == ["text/plain", "application/zip", "application/x-tar"]
    assert types(unpack=True) == ["text/plain", "application/zip; unpack", "application/x-tar; unpack"]
    assert types(media_type="text/markdown") == ["text/markdown"] * 3
    assert types(media_type="application/zip", unpack=True) == ["application/zip; unpack"] * 3


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
