"""The ready file: where a process that was given port 0 says which ports it got."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec


class Ready(msgspec.Struct, frozen=True):
    """What a process writes once it listens. A port it doesn't have is 0."""

    pid: int
    port: int = 0
    http_port: int = 0


def write_ready(path: Path | None, ready: Ready) -> None:
    """Write by rename, so that a reader sees all of it or nothing; None: nobody asked."""
    if path is None:
        return
    whole = path.with_name(path.name + ".new")
    whole.write_bytes(msgspec.json.encode(ready) + b"\n")
    os.replace(whole, path)


def read_ready(path: Path) -> Ready | None:
    """What stands there, None where nothing (yet) does."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Ready)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
