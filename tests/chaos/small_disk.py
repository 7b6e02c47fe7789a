"""A file system of its own for Postgres, so small that it can be filled: tmpfs, which needs root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MEGABYTES = 512
SOURCE = "doctrain-chaos"


class SmallDisk:
    """The disk; ``impossible`` says why there is none here, and is empty where there is."""

    def __init__(self, folder: Path, impossible: str) -> None:
        self._filler = folder / "filler"
        self.impossible = impossible

    @classmethod
    @contextmanager
    def mounted(cls, folder: Path) -> Iterator[SmallDisk]:
        """Mounts it over the folder; gone at the end with all that is on it."""
        if os.geteuid() != 0:
            yield cls(folder, "mounting a small file system needs root")
            return
        options = f"size={MEGABYTES}m,mode=0755"
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, SOURCE, str(folder)], capture_output=True, text=True, check=False)
        if made.returncode != 0:
            yield cls(folder, f"tmpfs could not be mounted: {made.stderr.strip()}")
            return
        try:
            yield cls(folder, "")
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=False)

    @staticmethod
    def unmount_left(folder: Path) -> None:
        """Takes away what a run that was killed left mounted below the folder."""
        for line in Path("/proc/mounts").read_text().splitlines():
            source, place, *_ = line.split()
            if source == SOURCE and Path(place).is_relative_to(folder):
                subprocess.run(["umount", "--lazy", place], check=False)

    def fill(self) -> int:
        """Takes the last byte; answers how many were free."""
        taken = 0
        with self._filler.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                piece = bytes(size)
                with suppress(OSError):
                    while (written := file.write(piece)) > 0:
                        taken += written
        return taken

    def free(self) -> None:
        """Gives it all back."""
        self._filler.unlink(missing_ok=True)
