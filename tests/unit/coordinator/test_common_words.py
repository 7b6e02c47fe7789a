"""Which words of a query say something."""

from __future__ import annotations

import pytest

from doctrain_coordinator.core.common_words import COMMON, telling
from doctrain_mesh.words import queried, words


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("Who are the drones?", ["drones"]),
        ("Was ist über die Bienen bekannt", ["die", "bienen", "bekannt"]),
        ("qui était la reine", ["etait", "reine"]),
        ("The Who", ["the", "who"]),
        ("東京都", ["東京", "京都"]),
        ("", []),
    ],
)
def test_articles_and_the_like_say_nothing_unless_there_is_nothing_else(query: str, said: list[str]) -> None:
    assert list(telling(queried(query))) == said


def test_common_words_are_as_the_index_holds_them() -> None:
    assert words(" ".join(COMMON)) == COMMON
