"""Breaks one rule of the product in every process that is started with this folder first on PYTHONPATH: for ``make chaos-proof`` alone.

The variable CHAOS_BREAKS names the rule. Python imports this module at its start; a module of the product that the rule lives in
is patched right after it was loaded. The product knows nothing of it.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Sequence
from types import ModuleType


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
