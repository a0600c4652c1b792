"""What outlives the agent's process: its books, and the events made of them that aren't known to be accepted.

Both are written in one file before anything is sent. An agent that dies while it sends finds the same events again,
with the same ids and bytes, so that what was accepted already is recognised; one that dies before has measured nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from kube_usage.events import Event, event
from kube_usage.scan import Scan
from kube_usage.usage import Books, advance, begin


class State(msgspec.Struct, frozen=True):
    """`node`: whose books these are; `outbox`: what is to be sent before the next scan is taken."""

    node: str
    books: Books
    outbox: list[Event]


def step(state: State | None, node: str, scan: Scan) -> State:
    """The state after a scan. Without one of this node before, the scan is only where measuring begins."""
    if state is None or state.node != node:
        return State(node, begin(scan), [])
    books, used = advance(state.books, scan)
    return State(node, books, [event(each, node, books.at_ms) for each in used])


def save(path: Path, state: State) -> None:
    """Put it durably in the place of the one before. Raises OSError."""
    beside = path.with_suffix(".new")
    with beside.open("wb") as file:
        file.write(msgspec.msgpack.encode(state))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load(path: Path) -> State | None:
    """What was saved; None where nothing was, or what can't be read. Raises OSError where the disk fails."""
    try:
        return _DECODER.decode(path.read_bytes())
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


_DECODER = msgspec.msgpack.Decoder(State)
