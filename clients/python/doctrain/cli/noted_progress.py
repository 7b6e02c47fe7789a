"""The bar of a terminal: what must always be seen in one line, and what there is to note in a line below, cut at the terminal's edge."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text


class NotedProgress(Progress):
    """Bars with a ``note`` each. In a narrow terminal the bar alone gets shorter."""

    def __init__(self) -> None:
        super().__init__(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TimeElapsedColumn(table_column=Column(no_wrap=True)),
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        for task in self.tasks:
            if note := task.fields["note"]:
                yield Text(f"  {note}", no_wrap=True, overflow="ellipsis")
