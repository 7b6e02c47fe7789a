"""What a child and all below it use together: limits that the kernel has for one process only, or not for root.

The guardian looks a few times a second and kills what exceeds. Standard library only.
"""

from __future__ import annotations

import os
from pathlib import Path

from doctrain_worker.sandbox.shared import process_tree
from doctrain_worker.sandbox.shared.launch import MOST_FILES, MOST_PROCESSES, SCRATCH_BYTES
from doctrain_worker.sandbox.shared.messages import Cause

_SANDBOX_PROCESSES = 2
_LOOKS = 2
"""A process that ends while we add up leaves its share to those not yet counted: one look may show more than there ever was."""
_BLOCK = 512
_RESIDENT = ("RssAnon:", "RssShmem:", "VmSwap:")
_SHARED_OUT = ("Pss_Anon:", "Pss_Shmem:", "SwapPss:")


def excess(child: int, tree_bytes: int, scratch: str, *, shown: bool) -> Cause | None:
    """What a child has too much of, with all below it.

    Args:
        child: the process that the guardian started.
        tree_bytes: most memory of them all.
        scratch: its scratch folder.
        shown: whether we see that folder as the child does; else it is a file system of the child's own.
    """
    tree = process_tree.tree(child)
    if len(tree) > MOST_PROCESSES + _SANDBOX_PROCESSES:
        return Cause.PROCESSES
    if _memory(tree, shared_out=False) > tree_bytes and all(_memory(tree, shared_out=True) > tree_bytes for _ in range(_LOOKS)):
        return Cause.MEMORY
    full = _folder_full(scratch) if shown else _own_file_system_full(tree[-1], scratch)
    return Cause.SPACE if full else None


def _memory(tree: list[int], *, shared_out: bool) -> int:
    """Bytes that these processes have to themselves, in swap too; files that they map are not counted.

    What they share, as after a fork, is counted for each of them, or shared out among them, which takes the kernel longer.
    """
    return 1024 * sum((shared_out and _kilobytes(pid, "smaps_rollup", _SHARED_OUT)) or _kilobytes(pid, "status", _RESIDENT) for pid in tree)


def _kilobytes(pid: int, name: str, words: tuple[str, ...]) -> int:
    try:
        with open(f"/proc/{pid}/{name}") as file:  # noqa: PTH123 - five times a second for each process
            return sum(int(line.split()[1]) for line in file if line.startswith(words))
    except OSError:
        return 0  # it ended while we looked


def _own_file_system_full(process: int, folder: str) -> bool:
    """The kernel limits its bytes; files without any are for us to count."""
    seen = Path(f"/proc/{process}/root{folder}")
    try:
        if not seen.is_mount():  # it has not got its own yet
            return False
        usage = os.statvfs(seen)
    except OSError:
        return False  # it ended while we looked
    return usage.f_files - usage.f_ffree > MOST_FILES


def _folder_full(scratch: str) -> bool:
    """What cannot be looked into, or is too deep for a path, is full: whoever made it so hides something."""
    files = size = 0
    folders = [scratch]
    try:
        for folder in folders:
            with os.scandir(folder) as entries:
                for entry in entries:
                    files += 1
                    size += entry.stat(follow_symlinks=False).st_blocks * _BLOCK
                    if files > MOST_FILES or size > SCRATCH_BYTES:
                        return True
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
    except FileNotFoundError:
        return False  # it went while we looked
    except OSError:
        return True
    return False
