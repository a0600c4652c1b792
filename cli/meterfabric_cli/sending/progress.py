"""The bar while a file is sent; nothing where nobody watches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


class Watcher(Protocol):
    """Is told how far it is."""

    def read(self, size: int) -> None:
        """So many bytes more were read."""

    def answered(self, accepted: int, refused: int) -> None:
        """So many records were answered in all."""

    def say(self, text: str) -> None:
        """Something that stays on the screen."""


class Silent:
    """Tells only what stays."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def read(self, size: int) -> None:
        """See Watcher."""

    def answered(self, accepted: int, refused: int) -> None:
        """See Watcher."""

    def say(self, text: str) -> None:
        """See Watcher."""
        self._console.out(text, highlight=False)


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
def watching(total: int | None) -> Iterator[Watcher]:
    """A bar on standard error where that is a terminal. `total`: bytes to come, None where that isn't known."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Silent(console)
        return
    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[records]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield Bar(progress, total)
