"""How a child is started: what the main process tells the guardian, and what the guardian tells the child. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

CONFINEMENT_VARIABLE = "_DOCTRAIN_CONFINEMENT"
CHANNEL_VARIABLE = "_DOCTRAIN_CHANNEL"
"""Tells a child the descriptor of its channel."""
READS_VARIABLE = "_DOCTRAIN_READS"
"""Tells a child what else it may read, as in a search path: a model's folder."""

SCRATCH_BYTES = 256 << 20
"""What a child may have in its scratch folder; one file may be as large."""
MOST_FILES = 4096
"""In a scratch folder: each takes memory of the kernel, or time to be removed."""
MOST_PROCESSES = 32
"""Below a child, those of its sandbox not counted."""

BWRAP_SCRATCH = "/scratch"
"""Where a child in bubblewrap has its scratch folder; elsewhere the guardian makes one."""

OWN_USERS = 0x7000_0000
"""The first of the user ids that children of root get, one each; no distribution gives them to anybody."""
_OWN_USERS_OF_ONE = 1 << 11
_MOST_PIDS = 1 << 17


@dataclass(frozen=True, slots=True)
class Launch:
    """A child to be started.

    Args:
        argv: its command line.
        environment: its whole environment, to which the guardian adds what it makes for the child.
        limits: rlimits by the names of module ``resource``.
        way: how it is shut in (``isolation.WAYS``); empty: it is not, and nothing is made for it.
        own_user: whether it gets a user id of its own.
        tree_bytes: most memory of it and all below it together; 0: nobody looks.
    """

    argv: Sequence[str]
    environment: Mapping[str, str]
    limits: Mapping[str, int]
    way: str = ""
    own_user: bool = False
    tree_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a child does to itself before it loads anything else.

    Args:
        way: how it is shut in.
        scratch: the one folder that it may write to.
        user: the user id that it takes; 0: it stays who it is.
        alone: whether nobody else's processes count towards the limit on those of its user.
    """

    way: str
    scratch: str
    user: int
    alone: bool

    def variables(self) -> dict[str, str]:
        """The environment that tells the child."""
        return {CONFINEMENT_VARIABLE: json.dumps(asdict(self)), "HOME": self.scratch, "TMPDIR": self.scratch}

    @classmethod
    def told(cls, environment: Mapping[str, str]) -> Confinement:
        """What ``variables`` says."""
        return cls(**json.loads(environment[CONFINEMENT_VARIABLE]))


@dataclass(frozen=True, slots=True)
class Held:
    """What holds for a child, beside its namespaces.

    Args:
        own_user: it runs as a user that owns nothing and has no other process.
        landlock: the version of Landlock that holds it; 0: none.
        filtered: its system calls are filtered.
    """

    own_user: bool
    landlock: int
    filtered: bool


def own_user_of(process: int, key: int) -> int:
    """A user id that no other child has now: of this process's child with this key."""
    return OWN_USERS + process % _MOST_PIDS * _OWN_USERS_OF_ONE + key % _OWN_USERS_OF_ONE
