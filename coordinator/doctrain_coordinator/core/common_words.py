"""Words that are in nearly every text of their language, so that finding one says nothing. Pure.

They stand here as the index holds them, without accents. One that means something in another of these languages, or in capitals, is left
out: the German ``war``, the French ``son``, ``US``.
"""

from __future__ import annotations

from collections.abc import Sequence

_ENGLISH = """
    a about an and any are as at be been being but by could did do does doing for from had has have having he her hers him his how i if in
    into is it its me my nor not of off on or our ours out she should so some such than that the their theirs them then there these they
    this those to too up was we were what when where which who whom whose why with would you your yours
"""
_GERMAN = """
    aber als auch auf aus bei das dass dem der durch ein eine einem einen einer eines er ich ihr ihre im ist mein mit nach nicht noch oder
    sein sich sie sind uber und uns vom von wenn wer werden wie wird wir wo wurde zu zum zur
"""
_FRENCH = """
    au aux avec ce ces cette dans de des du elle en est et eux il ils je la le les leur lui mais ne nous ou pas que qui sa ses sont sur un
    une vous
"""
_SPANISH = "al como cuando del el ella ellos es esta este esto las lo los muy pero por porque quien se ser su sus y"
COMMON = frozenset(" ".join((_ENGLISH, _GERMAN, _FRENCH, _SPANISH)).split())


def telling(words: Sequence[str]) -> Sequence[str]:
    """The words of a query that say something; all of them where none does."""
    return [word for word in words if word not in COMMON] or words
