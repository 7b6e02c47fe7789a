"""Opens the files that a user names."""

from __future__ import annotations

import errno
import stat
from io import BufferedReader
from pathlib import Path


def opened(path: Path) -> BufferedReader:
    """The file, to be read. Raises OSError, also for a pipe or a device, which nothing could end the wait for."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # a folder is refused in the system's own words
        raise OSError(errno.EINVAL, "It is no regular file", str(path))
    return path.open("rb")
