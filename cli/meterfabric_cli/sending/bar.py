"""The bar that a terminal shows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


class Bar:
    """A bar over the bytes read, with the records answered."""

    def __init__(self, progress: Progress, total: int | None) -> None:
        self._progress = progress
        self._task = progress.add_task("sending", total=total, records="")

    def read(self, size: int) -> None:
        """See Watcher."""
        self._progress.advance(self._task, size)

    def answered(self, accepted: int, refused: int) -> None:
        """See Watcher."""
        records = f"{accepted:,} accepted" + (f", {refused:,} refused" if refused else "")
        self._progress.update(self._task, records=records)

    def say(self, text: str) -> None:
        """See Watcher."""
        self._progress.console.out(text, highlight=False)


@contextmanager
def bar(total: int | None) -> Iterator[Bar]:
    """The bar on standard error, gone when the block ends."""
    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[records]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Bar(progress, total)
