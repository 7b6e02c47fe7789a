"""How a function in a child says that its document cannot be processed, so that no exception crosses the process."""

from __future__ import annotations


class Refusal(Exception):
    """The document is at fault, or a limit is reached.

    Args:
        code: a short constant, such as ``ENCRYPTED``: upper-case letters, digits and underscores; anything else is told as ``OTHER``.
        sentence: what was wrong and what to do, for the document's owner.
        resource: whether a limit was reached (``ErrorClass.RESOURCE``) rather than the document being wrong for good.
    """

    def __init__(self, code: str, sentence: str, *, resource: bool = False) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.resource = resource
