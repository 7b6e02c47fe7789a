"""Why an object store did not answer: in words that name no host and no bucket for tenants, in its own for the log."""

from __future__ import annotations

import re

NO_CREDENTIALS = "the mesh has no credentials for it (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role of the machine)"

_CAUSES = (
    ("169\\.254\\.169\\.254|/latest/api/token|metadata\\.google|NoCredentials", NO_CREDENTIALS),
    ("dns error", "there is no such host"),
    ("ConnectionRefused|Connection refused", "connection refused: nothing listens there"),
    ("certificate", "its certificate is not trusted"),
    ("status: 40[13]", "it does not accept the mesh's credentials, or they lack the right to list"),
    ("status: 404", "it has no such bucket"),
    ("status: 5\\d\\d", "it answered with a fault of its own"),
    ("[Tt]imed ?[Oo]ut|did not finish within", "no answer in time"),
)


def in_words(error: BaseException) -> str:
    """A part of a sentence; empty for a cause that is not known here."""
    text = str(error)
    return next((words for pattern, words in _CAUSES if re.search(pattern, text)), "")


def for_the_log(error: BaseException) -> str:
    """What the store's library said, in a line, without the names of buckets and objects."""
    return re.sub(r"(https?://[^/\s]+)\S*", r"\1/…", str(error).partition("\n")[0])
