"""What a tenant finds, from a coordinator and a worker on a real Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
import pytest_asyncio

import doctrain
from doctrain.errors import QuotaExceededError
from doctrain.v1 import search_pb2 as pb
from doctrain.v1 import search_pb2_grpc
from testkit.coordinator import Coordinators, coordinators, refused
from testkit.indexing import Indexer, indexing, train
from testkit.postgres import PostgresServer

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("search"), pytest.mark.timeout(120)]

LIBRARY = {
    "reef.txt": "Coral polyps build limestone that shelters thousands of kinds of fish.",
    "bread.txt": "A sourdough starter is flour and water in which wild yeast and bacteria live.",
    "rail.txt": "The gauge of a railway is the distance between the inner sides of its two rails.",
    "ducks-zh.txt": "夏天鸭子在水边做什么?它们喜欢在浅水里找食物,晚上回到东京都的公园。",
    "duck-ar.txt": "يعيش البط قرب الماء، ويأكل الطُّحْلُب والحشرات.",
    "korean.txt": "서울에서 오리들은 강가에 산다.",
    "invoice.txt": "page 3\n\n# Terms\n\nThe invoice QX-4711 is due within thirty days.\n\nLate payment costs eight per cent.",
    "accents.txt": "Le CAFÉ de l'Étang sert une soupe à l'oﬃce, Straße nach Łódź.",
}


@dataclass
class Library:
    """A tenant with documents about many things, and the training of them."""

    served: Coordinators
    indexer: Indexer
    client: doctrain.AsyncClient
    training: str

    async def documents(self, query: str, **options: object) -> list[str]:
        """The documents of the passages found, in their order."""
        return [hit.document_id for hit in await self.client.search(query, **options)]  # type: ignore[arg-type]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def library(shared_postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Library]:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(shared_postgres.database())
        served = await stack.enter_async_context(coordinators(url, tmp_path_factory.mktemp("library"), count=2))
        indexer = await stack.enter_async_context(indexing(served))
        client = await served.tenant("library")
        ended = await train(client, LIBRARY)
        assert ended.completed == len(LIBRARY)
        yield Library(served, indexer, client, ended.training_task_id)


@pytest.mark.parametrize("mode", ["hybrid", "vectors"])
@pytest.mark.parametrize(
    ("query", "document"),
    [("sea animals living around rocks", "reef.txt"), ("baking dough", "bread.txt"), ("how wide are train tracks", "rail.txt")],
)
async def test_finds_by_meaning(library: Library, query: str, document: str, mode: str) -> None:
    assert (await library.documents(query, mode=mode))[0] == document


@pytest.mark.parametrize(
    ("query", "document"),
    [
        ("qx 4711", "invoice.txt"),
        ("POLYPS?", "reef.txt"),
        ("鸭子", "ducks-zh.txt"),
        ("在浅水里找", "ducks-zh.txt"),
        ("都", "ducks-zh.txt"),
        ("园", "ducks-zh.txt"),
        ("البط", "duck-ar.txt"),
        ("الطحلب", "duck-ar.txt"),
        ("서울", "korean.txt"),
        ("오리", "korean.txt"),
        ("cafe etang", "accents.txt"),
        ("office STRASSE", "accents.txt"),
    ],
)
async def test_finds_by_words_in_every_script(library: Library, query: str, document: str) -> None:
    assert await library.documents(query, mode="words") == [document]
    assert (await library.documents(query))[0] == document


async def test_a_rare_word_counts_for_more_than_those_that_are_everywhere(library: Library) -> None:
    client = await library.served.tenant("stopwords")
    texts = {f"{number}": f"It is the {word} that is in the middle of it all." for number, word in enumerate("abcdefghij")}
    await train(client, {**texts, "rare": "The zeppelin."})
    assert (await client.search("of the zeppelin", mode="words", limit=1))[0].document_id == "rare"


async def test_a_word_in_the_text_counts_for_more_than_in_the_headings_alone(library: Library) -> None:
    client = await library.served.tenant("headings")
    food, names = "It eats weed and snails. " * 60, "People call a duck by many names. " * 40
    await train(client, {"duck.md": f"# Duck\n\n## Food\n\n{food}\n\n## Names\n\n{names}"})
    hits = await client.search("duck", mode="words")
    alone = [hit.score for hit in hits if "duck" not in hit.snippet.lower()]
    assert alone
    assert max(alone) < min(hit.score for hit in hits if "duck" in hit.snippet.lower())


async def test_the_least_word_of_a_question_does_not_outweigh_what_it_means(library: Library) -> None:
    client = await library.served.tenant("questions")
    things = ("ships", "trains", "wagons", "lorries", "aeroplanes", "ferries", "trams", "lifts")
    texts = {
        **{thing: f"Broken {thing} are mended at night." for thing in things},
        "gift": "A card for mother.",
        "tube": "Patch a bicycle tube.",
    }
    await train(client, texts)
    assert (await client.search("how can cyclists repair punctures for themselves"))[0].document_id == "tube"


async def test_a_hit_says_where_it_stands(library: Library) -> None:
    hit, *_ = await library.client.search("when do I have to pay the invoice")
    assert (hit.document_id, hit.training_task_id, hit.page, hit.heading) == ("invoice.txt", library.training, 3, "Terms")
    assert hit.text == "The invoice QX-4711 is due within thirty days."
    assert LIBRARY["invoice.txt"][hit.range.start : hit.range.end] == hit.text
    assert [hit.snippet[match.start : match.end] for match in hit.snippet_matches] == ["invoice"]
    assert hit.media_type == "text/plain"
    assert 0 < hit.score <= 1


async def test_the_score_is_one_for_what_is_first_in_every_order_and_falls(library: Library) -> None:
    for mode in ("hybrid", "vectors", "words"):
        scores = [hit.score for hit in await library.client.search("coral polyps limestone", mode=mode)]
        assert scores[0] == 1
        assert scores == sorted(scores, reverse=True)


async def test_a_page_has_as_many_as_were_asked_for_and_says_no_more_than_there_is(library: Library) -> None:
    assert len(await library.documents("water", limit=2)) == 2
    assert len(await library.documents("water", limit=100)) == len(LIBRARY) + 1  # the invoice has two passages
    assert (await refused(library.client.search("water", limit=-1))).violations[0].field == "limit"


async def test_a_long_passage_is_shown_around_the_words(library: Library) -> None:
    client = await library.served.tenant("long")
    filler = "Nothing that is said in this sentence is of any interest to anybody at all. " * 12
    await train(client, {"long": f"{filler}The astrolabe hangs above the harpsichord. {filler}"})
    hit, *_ = await client.search("harpsichord astrolabe")
    assert "astrolabe hangs above the harpsichord" in hit.snippet
    assert hit.snippet.startswith("…")
    assert hit.snippet.endswith("…")
    assert len(hit.snippet) <= 300
    assert [hit.snippet[match.start : match.end] for match in hit.snippet_matches] == ["astrolabe", "harpsichord"]


@pytest.mark.parametrize(
    "query",
    [
        "?! … -- ()",
        "🦆🦆",
        "\u0000",
        "'",
        "&|!:*<->",
        "''''; drop table chunk; --",
        "a & !b | (c:* <-> d)",
        "\\",
        "x\u0000y",
        "%_",
        "[1,2]::halfvec",
    ],
)
async def test_silly_queries_find_nothing_or_something_and_break_nothing(library: Library, query: str) -> None:
    for mode in ("hybrid", "vectors", "words"):
        hits = await library.client.search(query, mode=mode)
        assert hits == [] or any(character.isalnum() for character in query)
    assert (await library.documents("polyps"))[0] == "reef.txt"


async def test_queries_that_are_empty_or_too_long_are_refused(library: Library) -> None:
    for nothing in ("", " \t\n "):
        assert "say it in words" in str(await refused(library.client.search(nothing)))
    assert "4,096" in str(await refused(library.client.search("word " * 1000)))
    assert (await refused(library.client.search("x" * 2**19))).status is grpc.StatusCode.INVALID_ARGUMENT
    assert (await refused(library.client.search("x" * 2**21))).reason == "REQUEST_TOO_LARGE"
    await library.client.search("water " * 682)  # 4,092 bytes, far beyond what the model takes


async def test_wrong_filters_name_their_fields(library: Library) -> None:
    wrong = await refused(
        library.client.search(
            "x",
            training_task_ids=["no spaces", *(str(number) for number in range(99))],
            document_ids=["", *(str(number) for number in range(999))],
            metadata={"": "v"},
            media_types=["x" * 256],
        )
    )
    fields = {violation.field for violation in wrong.violations}
    assert fields == {"filter.training_task_ids[0]", "filter.document_ids[0]", "filter.metadata", "filter.media_types[0]"}
    stub = search_pb2_grpc.SearchServiceStub(await library.served.channel())
    key = (("authorization", f"Bearer {await library.served.key(1, 'library')}"),)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Search(pb.SearchRequest(query="x", mode=9), metadata=key)  # type: ignore[arg-type]
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_filters(library: Library) -> None:
    client = await library.served.tenant("filters")
    english = {"year": "2026", "lang": "en", 'odd "key"': "it's {odd}"}
    first = await train(client, {"a": "The harbour opens at dawn.", "b": "The harbour closes at dusk."}, metadata=english)
    second = await train(client, {"c": "The harbour master sleeps."}, metadata={"year": "2025"}, media_type="application/pdf")
    await train(client, {"d": "The harbour cat hunts.", "b": "The harbour closes at night."})

    async def found(**options: object) -> set[str]:
        return {hit.document_id for hit in await client.search("harbour", **options)}  # type: ignore[arg-type]

    assert await found() == {"a", "b", "c", "d"}
    assert await found(training_task_ids=[first.training_task_id]) == {"a"}  # b has a newer version
    assert await found(training_task_ids=[first.training_task_id, second.training_task_id]) == {"a", "c"}
    assert await found(training_task_ids=["unknown"]) == set()
    assert await found(training_task_ids=["unknown", second.training_task_id]) == {"c"}
    assert await found(document_ids=["a", "d", "nothing"]) == {"a", "d"}
    assert await found(metadata={"year": "2026"}) == {"a"}
    assert await found(metadata={"year": "2026", "lang": "de"}) == set()
    assert await found(metadata={'odd "key"': "it's {odd}"}) == {"a"}
    assert await found(metadata={"year": "202"}) == set()
    assert await found(media_types=["application/pdf"]) == {"c"}
    assert await found(media_types=["application/pdf", "text/plain"]) == {"a", "b", "c", "d"}
    assert await found(document_ids=["a", "c"], metadata={"year": "2025"}) == {"c"}
    for mode in ("vectors", "words"):
        assert await found(mode=mode, metadata={"year": "2026"}) == {"a"}
    (hit,) = await client.search("harbour", document_ids=["a"])
    assert dict(hit.metadata) == english


async def test_a_tenant_finds_only_its_own_also_by_forged_ids(library: Library) -> None:
    stranger = await library.served.tenant("stranger")
    await train(stranger, {"own": "Coral polyps of the stranger.", "reef.txt": "Not of the library: coral polyps."})
    assert set(await library.documents("coral polyps limestone")) == set(LIBRARY)
    assert {hit.document_id for hit in await stranger.search("coral polyps limestone")} == {"own", "reef.txt"}
    unknown: list[doctrain.Unknown] = []
    chosen: dict[str, Any] = {"training_task_ids": [library.training], "document_ids": ["bread.txt", "nowhere"]}
    assert await library.client.search("bread", **chosen, on_unknown=unknown.append)
    assert [str(one) for one in unknown] == ["The document nowhere is not in the index."]
    unknown.clear()
    assert await stranger.search("bread", **chosen, on_unknown=unknown.append) == []
    assert [one.id for one in unknown] == [library.training, "bread.txt", "nowhere"], "another's is told as what is not there"
    assert [hit.text for hit in await stranger.search("coral", document_ids=["reef.txt", "bread.txt"])] == [
        "Not of the library: coral polyps."
    ]
    assert (await stranger.get_index()).document_count == 2


async def test_keys_of_other_roles_may_not_search(library: Library) -> None:
    for role in (2, 3):
        client = await library.served.client(await library.served.key(role))
        assert (await refused(client.search("x"))).reason == "PERMISSION_DENIED"
        assert (await refused(client.delete_documents(["x"]))).reason == "PERMISSION_DENIED"
        assert (await refused(client.get_index())).reason == "PERMISSION_DENIED"


async def test_an_empty_index_answers_nothing_and_says_so(library: Library) -> None:
    client = await library.served.tenant("newcomer")
    assert await client.search("anything") == []
    index = await client.get_index()
    assert (index.document_count, index.chunk_count, index.HasField("update_time")) == (0, 0, False)


async def test_a_newer_version_leaves_nothing_of_the_older(library: Library) -> None:
    client = await library.served.tenant("versions")
    await train(client, {"doc": "Alpha passage.\n\nBeta passage.\n\nGamma passage."})
    newer = await train(client, {"doc": "Delta passage."})
    hits = await client.search("passage alpha beta gamma delta")
    assert [(hit.text, hit.training_task_id) for hit in hits] == [("Delta passage.", newer.training_task_id)]
    assert await client.search("alpha", mode="words") == []
    index = await client.get_index()
    assert (index.document_count, index.chunk_count, index.stale_document_count) == (1, 1, 0)


async def test_vectors_of_another_model_are_not_compared_and_their_documents_are_told_as_stale(library: Library) -> None:
    client = await library.served.tenant("models")
    await train(client, {"new": "Coral polyps build limestone."})
    library.indexer.model = "another"
    try:
        await train(client, {"old": "Coral polyps build limestone, too."})
    finally:
        library.indexer.model = (await client.get_index()).model
    assert [hit.document_id for hit in await client.search("coral polyps", mode="vectors")] == ["new"]
    assert {hit.document_id for hit in await client.search("coral polyps", mode="words")} == {"new", "old"}
    index = await client.get_index()
    assert (index.document_count, index.stale_document_count) == (2, 1)


async def test_a_document_without_words_has_no_vectors_to_be_of_another_model(library: Library) -> None:
    client = await library.served.tenant("blanks")
    library.indexer.model = ""
    try:
        await train(client, {"blank": "page 1"})
    finally:
        library.indexer.model = (await client.get_index()).model
    index = await client.get_index()
    assert (index.document_count, index.chunk_count, index.stale_document_count) == (1, 0, 0)


async def test_more_searches_at_once_than_a_tenant_may_are_refused_with_when_to_try_again(library: Library) -> None:
    client, other = await library.served.tenant("eager"), await library.served.tenant("other")
    await train(client, {"a": "A text."})
    async with AsyncExitStack() as holding:
        blocker = await library.served.database()
        await holding.enter_async_context(blocker.transaction())
        await blocker.execute("lock table indexed_document in access exclusive mode")
        searches = [asyncio.create_task(client.search("text")) for _ in range(100)]
        done, waiting = await asyncio.wait(searches, return_when=asyncio.FIRST_COMPLETED)
        refusals = [search.exception() for search in done]
        assert all(isinstance(error, QuotaExceededError) and error.retry_after_seconds for error in refusals)
        beside = asyncio.create_task(other.search("text"))
    assert await beside == []
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(isinstance(answer, list) and len(answer) == 1 for answer in answers) >= 32
