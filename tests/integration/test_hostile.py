"""Documents that mean harm, or are broken, each end with a reason, and the next one is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from hostile.corpus import KINDS, corpus
from hostile.document import media_type
from hostile.good import WORDS, documents_by_name
from hostile.mutations import mutations
from hostile.trial import TRIAL
from testkit.parsers import Parsers, parsers

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("hostile"), pytest.mark.timeout(300)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened() -> AsyncIterator[Parsers]:
    async with parsers(TRIAL) as made:
        yield made


async def good(opened: Parsers) -> bool:
    """Whether a document after it is read."""
    return WORDS in (await opened.read(WORDS.encode(), "good.txt")).text


async def test_a_good_document_of_each_kind_is_read(opened: Parsers) -> None:
    for name, content in documents_by_name().items():
        outcome = await opened.read(content, name, media_type(name))
        assert (name, outcome.code, "register of ships" in outcome.text) == (name, "OK", True)


@pytest.mark.parametrize("kind", KINDS)
async def test_each_ends_as_it_may_and_the_next_is_read(opened: Parsers, kind: str) -> None:
    wrong = []
    for found in (one for one in corpus() if one.kind == kind):
        outcome = await opened.read(found.content, found.name, found.media_type)
        if outcome.code not in found.ends or (found.unwanted and found.unwanted in outcome.text):
            wrong.append((found.name, outcome.code, outcome.failure))
        if outcome.failure is not None:
            assert outcome.failure.sentence.endswith(".")
    assert wrong == []
    assert await good(opened)


async def test_the_corpus_is_large_and_of_many_kinds() -> None:
    assert len(corpus()) >= 200
    counted = Counter(found.kind for found in corpus())
    assert sorted(counted) == sorted(KINDS)
    assert min(counted.values()) >= 3


async def test_changed_documents_end_with_a_reason_too(opened: Parsers) -> None:
    for name, content in mutations(30, seed=3):
        outcome = await opened.read(content, name, media_type(name))
        assert outcome.failure is None or outcome.failure.sentence.endswith("."), name
    assert await good(opened)
