"""The advisory locks of the database, all of them. Postgres knows them by number alone, so no two may be alike."""

from __future__ import annotations

from enum import IntEnum


class AdvisoryLock(IntEnum):
    """What each guards, and for how long it is held.

    MIGRATION, LEADERSHIP and REMOVAL are numbers of 64 bits, one lock each. LOADING, VECTOR_INDEX and UPLOADS are the first of two
    numbers of 32 bits, of which the second says which one of a kind: Postgres keeps these apart from the others.
    """

    MIGRATION = 0x646F63747261696E
    """The schema is looked at or made: until the end of that transaction."""
    LEADERSHIP = 0x646F63747261696F
    """There is one leader: as long as its connection lives, which is then the one that it leads on."""
    REMOVAL = 0x646F637472616970
    """What is deleted or too old is removed by one coordinator: as long as the connection that it removes on lives."""
    LOADING = 0x646F6463
    """The training of that number (its hash) is loaded by one coordinator: as long as the loader's connection lives."""
    VECTOR_INDEX = 0x646F6464
    """The index of that name (its hash) is made by one coordinator: as long as the connection that makes it lives."""
    UPLOADS = 0x646F6465
    """Uploads of the tenant of that number (its hash) are removed by any number of transactions, or a manifest of it, which may name any
    later, is accepted by one: until the end of those."""
