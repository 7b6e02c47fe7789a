"""What every process of a chaos run does first, since this folder is the first on its PYTHONPATH. The product knows nothing of it.

- A child that reads documents opens the ledger, before it gives up all files but its own.
- For ``make chaos-proof``, the variable CHAOS_BREAKS names a rule of the product to break: a module that the rule lives in is
  patched right after it was loaded.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Sequence
from types import ModuleType

READ_VARIABLE = "_DOCTRAIN_READ"


class _Loader(importlib.abc.Loader):
    """Loads as the module's own loader does, then patches."""

    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        from chaos.broken import rules

        rules.PATCHES[os.environ["CHAOS_BREAKS"]][module.__name__](module)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules that are to be patched."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self._names:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


def _install() -> None:
    from chaos.broken import rules

    sys.meta_path.insert(0, _Finder(frozenset(rules.PATCHES[os.environ["CHAOS_BREAKS"]])))


if os.environ.get("CHAOS_BREAKS"):
    _install()
if READ_VARIABLE in os.environ:
    from chaos.stages import ledger

    ledger()
