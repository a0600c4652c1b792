"""From a SINKURL to its destination: the one place that knows them all."""

import time
from collections.abc import Callable
from pathlib import Path

from .base import Destination


def destination(url: str, *, clock: Callable[[], float] = time.time) -> Destination:
    """The destination that `url` names, not yet opened: `file:DIR`, `sqlite:PATH` or `postgresql://…`.

    `clock` gives Unix seconds. Raises ValueError naming what is wrong with the URL.
    """
    scheme, separator, rest = url.partition(":")
    if scheme in ("file", "sqlite") and separator and rest:
        path = local_path(url)
        if scheme == "file":
            from .file import FileDestination  # noqa: PLC0415 - each destination's needs are its own

            return FileDestination(path, clock=clock)
        from .sqlite import SqliteDestination  # noqa: PLC0415

        return SqliteDestination(path, clock=clock)
    if scheme in ("postgresql", "postgres") and rest.startswith("//"):
        from .postgres import PostgresDestination  # noqa: PLC0415

        return PostgresDestination(url, clock=clock)
    raise ValueError(f"sink URL {url!r}: expected file:DIR, sqlite:PATH or postgresql://…")


def local_path(url: str) -> Path:
    """The path in a `file:` or `sqlite:` URL; `file:///x` and `file:/x` are the same."""
    rest = url.partition(":")[2]
    return Path(rest[2:] if rest.startswith("///") else rest)
