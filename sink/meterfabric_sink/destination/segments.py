"""Append-only NDJSON files, `records-000001.ndjson` and on: one record a line, readable by anything.

A segment's bytes count only up to the length that the index says; the rest is the torn end of a commit that never
was. The index is the one that knows, so this module only does as told: append here, cut there.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from .base import DestinationRefused

IOV_MAX = 1024


def name(segment: int) -> str:
    """The file name of a segment, counted from 1."""
    return f"records-{segment:06d}.ndjson"


def create(folder: Path, segment: int) -> int:
    """Create an empty segment and make it durable with its directory; returns the descriptor, open for appending.

    A file of that name that the index never heard of is what a crash left, and is emptied.
    """
    descriptor = os.open(folder / name(segment), os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.fsync(descriptor)
        sync_folder(folder)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_at(folder: Path, segment: int, committed: int) -> int:
    """Open a segment and cut it at its committed length; returns the descriptor.

    Raises DestinationRefused when the segment is shorter than that: committed records are missing.
    """
    path = folder / name(segment)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        raise DestinationRefused(f"{path} is missing but is in the index; restore the folder from a backup") from None
    try:
        length = os.fstat(descriptor).st_size
        if length < committed:
            raise DestinationRefused(
                f"{path} holds {length} bytes of {committed} committed; restore the folder from a backup"
            )
        if length > committed:
            os.ftruncate(descriptor, committed)
            os.fsync(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def append(descriptor: int, offset: int, payloads: Sequence[bytes]) -> None:
    """Write the payloads one after the other from `offset` and fsync them. Raises OSError (ENOSPC, EIO, …)."""
    for start in range(0, len(payloads), IOV_MAX):
        chunk: Sequence[bytes | memoryview] = payloads[start : start + IOV_MAX]
        while chunk:
            written = os.pwritev(descriptor, chunk, offset)
            offset += written
            chunk = _rest(chunk, written)
    os.fdatasync(descriptor)


def _rest(chunk: Sequence[bytes | memoryview], written: int) -> Sequence[bytes | memoryview]:
    for position, piece in enumerate(chunk):
        if written < len(piece):
            return [memoryview(piece)[written:], *chunk[position + 1 :]]
        written -= len(piece)
    return ()


def make_folder(folder: Path) -> None:
    """Create a folder and those above it where they are missing, each durable in its parent."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the folder's names durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
