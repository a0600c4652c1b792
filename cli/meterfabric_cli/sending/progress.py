"""The bar while a file is sent; nothing where nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


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

    def read(self, size: int) -> None:
        """See Watcher."""

    def answered(self, accepted: int, refused: int) -> None:
        """See Watcher."""

    def say(self, text: str) -> None:
        """See Watcher."""
        print(text, file=sys.stderr)


@contextmanager
def watching(total: int | None) -> Iterator[Watcher]:
    """A bar on standard error where that is a terminal. `total`: bytes to come, None where that isn't known."""
    if not sys.stderr.isatty():
        yield Silent()
        return
    from meterfabric_cli.sending.bar import bar  # noqa: PLC0415 - takes its time, and only a terminal needs it

    with bar(total) as drawn:
        yield drawn
