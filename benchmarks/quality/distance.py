"""How far a text is from another. Pure."""

from __future__ import annotations


def error_rate(said: str, read: str) -> float:
    """The share of letters to be changed, put in or left out to make one of the other: Levenshtein's distance by Myers' bit vectors."""
    if not said:
        return float(bool(read))
    places: dict[str, int] = {}
    for at, letter in enumerate(said):
        places[letter] = places.get(letter, 0) | 1 << at
    mask, last = (1 << len(said)) - 1, 1 << (len(said) - 1)
    more, less, distance = mask, 0, len(said)
    for letter in read:
        match = places.get(letter, 0)
        either = match | less
        carried = (((match & more) + more) ^ more) | match
        up = less | ~(carried | more)
        down = more & carried
        distance += bool(up & last) - bool(down & last)
        up = up << 1 | 1
        down <<= 1
        more = (down | ~(either | up)) & mask
        less = up & either & mask
    return distance / len(said)
