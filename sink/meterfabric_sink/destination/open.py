"""From a SINKURL to its destination: the one place that knows them all."""

import re
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
    raise ValueError(f"sink URL {shown_url(url)!r}: expected file:DIR, sqlite:PATH or postgresql://…")


def shown_url(url: str) -> str:
    """The URL as people and logs may see it: without its password."""
    return re.sub(r"(?<=://)([^/@]*?):[^/]*@|(?<=[?&]password=)[^&]*", _masked, url)


def _masked(found: re.Match[str]) -> str:
    return "***" if found[1] is None else f"{found[1]}:***@"


def local_path(url: str) -> Path:
    """The path in a `file:` or `sqlite:` URL; `file:///x` and `file:/x` are the same."""
    rest = url.partition(":")[2]
    return Path(rest[2:] if rest.startswith("///") else rest)
