"""Documents through every stage, in real children, into a real Postgres."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from doctrain_worker.pipeline.processor import DocumentTask, Done, ErrorClass, Failure, FencedError, NotHeldError, ShardContext
from testkit import documents
from testkit.limits import LIMITS, MIB
from testkit.pictures import page, saved
from testkit.pipelines import STAGES_OF_TEXT, Bench, replaced, running_shard, worked

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("pipeline")]

SENTENCES = {
    "reef.md": "# The reef\n\nCoral polyps build limestone that shelters thousands of kinds of fish.\n",
    "bread.txt": "A sourdough starter is flour and water in which wild yeast and bacteria live.\n",
    "rail.html": "<html><head><title>Rails</title></head><body><nav>Home About</nav><article><h1>Rails</h1><p>The gauge of a railway is "
    "the distance between the inner sides of its two rails; trains of one gauge cannot run on another.</p></article></body></html>",
}


async def test_each_kind_of_document_is_found_by_what_it_means(bench: Bench) -> None:
    for name, text in SENTENCES.items():
        assert isinstance(await bench.train(name, text.encode()), Done)
    assert isinstance(
        await bench.train("comet.pdf", documents.pdf([["A comet is a body of ice and dust", "that grows a tail near the sun."]])), Done
    )
    assert await bench.nearest("fish that live around corals") == "reef.md"
    assert await bench.nearest("yeast for baking") == "bread.txt"
    assert await bench.nearest("width of train tracks") == "rail.html"
    assert await bench.nearest("icy objects in the solar system") == "comet.pdf"


async def test_rows_say_where_in_the_document_a_chunk_stands(bench: Bench) -> None:
    lines = [[f"Page {page} tells of item {page} number {line} in its long list of things." for line in range(30)] for page in (1, 2, 3)]
    before = time.time()
    outcome = await bench.train("pages.pdf", documents.pdf(lines), metadata='{"author": "Ann"}')
    rows = await bench.rows("pages.pdf")
    assert isinstance(outcome, Done)
    assert outcome.chunks == len(rows) > 5
    assert worked(outcome) == STAGES_OF_TEXT
    starts = [stage.start for stage in outcome.stages]
    assert starts == sorted(starts)
    assert before <= starts[0] <= starts[-1] <= time.time()
    assert [row["seq"] for row in rows] == list(range(len(rows)))
    assert {row["page"] for row in rows} == {1, 2, 3}
    assert all(f"Page {row['page']} " in row["text"] for row in rows)
    document = await bench.document("pages.pdf")
    assert document is not None
    assert (document["media_type"], document["chunk_count"], document["training"]) == ("application/pdf", len(rows), 1)
    assert json.loads(document["metadata"]) == {"author": "Ann"}


async def test_a_blank_page_is_trained_without_chunks_and_known_again(bench: Bench) -> None:
    first, second = [await running_shard(bench.pool, training) for training in (31, 32)]
    blank = saved(page([]), "PNG")
    outcome = await trained(bench, "blank.png", blank, first)
    assert (outcome.chunks, outcome.unchanged) == (0, False)
    assert (await trained(bench, "blank.png", blank, second)).unchanged
    for name in ("blank.html", "signs.txt"):
        failed = await bench.train(name, b"<p> - </p>")
        assert isinstance(failed, Failure)
        assert failed.code == "NO_TEXT"


async def test_an_unchanged_document_is_not_read_again(bench: Bench) -> None:
    first, second, third = [await running_shard(bench.pool, training) for training in (21, 22, 23)]
    text = b"# Tides\n\nThe moon pulls the sea.\n"
    assert not (await trained(bench, "tides.md", text, first)).unchanged
    at_once = await trained(bench, "tides.md", text, first)
    assert ([stage.name for stage in at_once.stages], at_once.unchanged) == (["fetch"], False), "its own training has read it"
    again = await bench.train("tides.md", text, shard=second, metadata='{"year": "2026"}')
    assert isinstance(again, Done)
    assert ([stage.name for stage in again.stages], again.unchanged, again.chunks) == (["fetch"], True, 1)
    document = await bench.document("tides.md")
    assert document is not None
    assert (document["training"], json.loads(document["metadata"])) == (22, {"year": "2026"})
    assert not (await trained(bench, "tides.md", text, first)).unchanged, "an older training does not take it back"
    document = await bench.document("tides.md")
    assert document is not None
    assert document["training"] == 22
    assert not (await trained(bench, "tides.md", text + b"Twice a day.\n", second)).unchanged
    assert not (await trained(bench, "tides.md", text + b"Twice a day.\n", msgspec.structs.replace(third, retrain=True))).unchanged
    claimed = await bench.train("tides.md", text + b"Twice a day.\n", shard=third, media_type="text/plain")
    assert isinstance(claimed, Done)
    assert not claimed.unchanged, "what it is said to be counts too"
    other = msgspec.structs.replace(third, tenant=2, tenant_id="globex")
    assert not (await trained(bench, "tides.md", text + b"Twice a day.\n", other)).unchanged
    with pytest.raises(NotHeldError):
        await bench.train("tides.md", text + b"Twice a day.\n", shard=msgspec.structs.replace(third, number=99), media_type="text/plain")


async def test_a_retry_stands_in_the_order_of_the_training_that_it_retries(bench: Bench) -> None:
    """An attack: what failed in training 11 is retried, as training 13, beside training 12 of the same document."""
    second, retry, retried_again = [await running_shard(bench.pool, t, order) for t, order in ((12, 12), (13, 11), (14, 11))]
    assert not (await trained(bench, "price.md", b"The old price.\n", retry)).superseded
    assert not (await trained(bench, "price.md", b"The old price, read again.\n", retried_again)).superseded
    assert (await trained(bench, "price.md", b"The old price.\n", retry)).superseded
    assert not (await trained(bench, "price.md", b"The new price.\n", second)).superseded
    for late in (retry, retried_again):
        assert (await trained(bench, "price.md", b"The old price.\n", late)).superseded
    assert [row["text"] for row in await bench.rows("price.md")] == ["The new price."]
    document = await bench.document("price.md")
    assert document is not None
    assert (document["training"], document["index_order"]) == (12, 12)


async def trained(bench: Bench, name: str, content: bytes, shard: ShardContext) -> Done:
    done = await bench.train(name, content, shard=shard)
    assert isinstance(done, Done)
    return done


async def test_training_again_replaces_and_the_newer_training_wins(bench: Bench) -> None:
    newer = await running_shard(bench.pool, training=2)
    long = "\n\n".join(f"# Part {n}\n\n" + f"Sentence {n} of the long one. " * 40 for n in range(4))
    assert isinstance(await bench.train("again.md", long.encode()), Done)
    assert len(await bench.rows("again.md")) >= 4
    assert isinstance(await bench.train("again.md", b"Short now.\n", shard=newer), Done)
    assert [row["text"] for row in await bench.rows("again.md")] == ["Short now."]
    late = await bench.train("again.md", long.encode())
    assert isinstance(late, Done)
    assert late.superseded
    assert [(row["text"], row["training"]) for row in await bench.rows("again.md")] == [("Short now.", 2)]


async def test_nothing_is_written_for_a_shard_that_is_no_longer_held(bench: Bench) -> None:
    for changed in ({"number": 4}, {"session": 8}, {"shard": bench.shard.shard + 1000}):
        with pytest.raises(FencedError):
            await bench.train("lost.md", b"Never written.\n", shard=msgspec.structs.replace(bench.shard, **changed))
    assert await bench.document("lost.md") is None
    assert await bench.rows("lost.md") == []


BROKEN = {
    "empty.pdf": (b"", "EMPTY", ErrorClass.PERMANENT),
    "blank.txt": (b" \n\t\n", "EMPTY", ErrorClass.PERMANENT),
    "cut.pdf": (documents.pdf([["Whole once."]])[:200], "CORRUPT", ErrorClass.PERMANENT),
    "locked.pdf": (documents.encrypted_pdf(), "ENCRYPTED", ErrorClass.PERMANENT),
    "program.pdf": (b"\x7fELF\x02\x01\x01" + bytes(200), "WRONG_TYPE", ErrorClass.PERMANENT),
    "noise.txt": (bytes(range(256)) * 4, "WRONG_TYPE", ErrorClass.PERMANENT),
    "large.txt": (b"a word " * (6 * MIB), "TOO_LARGE", ErrorClass.RESOURCE),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_what_cannot_be_read_fails_with_a_reason(bench: Bench, name: str) -> None:
    content, code, error_class = BROKEN[name]
    outcome = await bench.train(name, content, media_type="application/pdf" if name.endswith("pdf") else "")
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.error_class) == (code, error_class)
    assert outcome.sentence.endswith(".")
    assert await bench.document(name) is None


async def test_places_that_may_not_be_read_or_are_not_there_fail(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text("secret")
    (bench.root / "link.txt").symlink_to(tmp_path / "outside.txt")
    for uri, code in (
        (f"file://{bench.root}/missing.txt", "NOT_FOUND"),
        (f"file://{bench.root}/link.txt", "FORBIDDEN"),
        (f"file://{bench.root}/../x", "INVALID_URI"),
        (f"file://{bench.root}", "INVALID_URI"),
        ("https://localhost/x", "INVALID_URI"),
        ("blob://" + "0" * 64, "NOT_FOUND"),
        (f"{bench.stored}/100/5", "INVALID_RANGE"),
    ):
        outcome = await bench.pipeline.process(DocumentTask(0, "x", uri), bench.shard)
        assert isinstance(outcome, Failure), uri
        assert (outcome.error_class, outcome.code) == (ErrorClass.PERMANENT, code), uri


async def test_many_at_once_are_kept_apart(bench: Bench) -> None:
    names = [f"many-{n}.txt" for n in range(40)]
    outcomes = await asyncio.gather(*(bench.train(name, f"This is the document {name}.".encode()) for name in names))
    assert all(isinstance(outcome, Done) for outcome in outcomes)
    for name in names:
        assert [row["text"] for row in await bench.rows(name)] == [f"This is the document {name}."]


async def test_large_documents_are_read_too(bench: Bench) -> None:
    async with replaced(bench, replace(LIMITS, call_seconds=100)) as own:
        outcome = await own.train("spacious.txt", b"The only words." + b" " * (36 * MIB))
    assert isinstance(outcome, Done)
    assert worked(outcome) == STAGES_OF_TEXT
    assert [row["text"] for row in await bench.rows("spacious.txt")] == ["The only words."]
