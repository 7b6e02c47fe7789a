"""Wall clocks that jump: libfaketime moves CLOCK_REALTIME of one process by what a file says; CLOCK_MONOTONIC stays true."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

# Debian's multiarch folders, whatever the machine's architecture.
_LIBRARIES = ("/usr/lib", "/usr/lib64", "/lib")


def faketime() -> Path | None:
    """libfaketime for threaded programs, where installed."""
    for folder in _LIBRARIES:
        for pattern in ("*/faketime/libfaketimeMT.so.1", "faketime/libfaketimeMT.so.1"):
            for found in sorted(Path(folder).glob(pattern)):
                return found
    return None


def _file(folder: Path, part: str) -> Path:
    return folder / f"{part}.clock"


def environment(folder: Path, part: str) -> Mapping[str, str]:
    """What a part's process is started with so that its clock can be moved later."""
    found = faketime()
    if found is None:
        return {}
    set_offset(folder, part, 0)
    return {
        "LD_PRELOAD": str(found),
        "FAKETIME_TIMESTAMP_FILE": str(_file(folder, part)),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


def set_offset(folder: Path, part: str, seconds: int) -> None:
    """From within a second on the part's wall clock is off by so much."""
    _file(folder, part).write_text(f"{seconds:+d}s\n")
