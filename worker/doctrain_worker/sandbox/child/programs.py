"""What a child must see of the files: programs, libraries, the folders that its interpreter imports from, and what it is told to read.

``python -P -m doctrain_worker.sandbox.child.programs`` prints them, a line each. They are asked of an interpreter that is started
as a child is, because ours may have more to import from: ``python -m`` puts the folder that it was started in first, and
that may hold anything. Standard library only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from doctrain_worker.sandbox.shared.launch import READS_VARIABLE

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime", "/etc/mime.types")


def seen() -> list[str]:
    """The paths, each as it is written and where it leads, without those inside another; all of them can be read."""
    executable = Path(sys.executable)
    imported = map(Path, (sys.prefix, sys.base_prefix, sys.exec_prefix, *filter(None, sys.path)))
    libraries = [*map(Path, told()), executable.parent, executable.resolve().parent, *imported]
    return [str(path) for path in _outermost([*map(Path, _SYSTEM), *libraries, *(path.resolve() for path in libraries)])]


def told() -> list[str]:
    """What READS_VARIABLE says."""
    return [path for path in os.environ.get(READS_VARIABLE, "").split(os.pathsep) if path]


def _outermost(paths: Iterable[Path]) -> list[Path]:
    kept: list[Path] = []
    for path in sorted(paths, key=lambda path: (len(path.parts), path)):
        if len(path.parts) > 1 and os.access(path, os.R_OK) and not any(path.is_relative_to(wider) for wider in kept):
            kept.append(path)
    return kept


if __name__ == "__main__":
    sys.stdout.writelines(f"{path}\n" for path in seen())
