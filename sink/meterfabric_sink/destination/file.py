"""Records as NDJSON segments in a folder, evidence in `index.db` beside them.

A commit appends every payload as it is with one write and one fsync, then commits the index, which alone makes the
bytes count. Work is constant per batch: a record is never looked at.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from . import erasure, segments
from .base import DestinationRefused, LogUpdate
from .embedded import Embedded
from .sqlite_evidence import Place
from .sqlite_tables import EVIDENCE, SEGMENTS

SEGMENT_BYTES = 256 << 20
INDEX = "index.db"
LOCK = "lock"


class FileDestination(Embedded):
    """`file:DIR`. A segment is closed for a new one when the next commit would grow it beyond `segment_bytes`."""

    def __init__(
        self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(folder / INDEX, EVIDENCE + SEGMENTS, page_size=4096, lock_path=folder / LOCK, clock=clock)
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._segment = 0
        self._descriptor: int | None = None
        self._length = 0  # committed
        self._written = 0  # of the transaction under way

    def _started(self, connection: sqlite3.Connection) -> None:
        known = connection.execute("SELECT segment, committed FROM segments ORDER BY segment").fetchall()
        strays = sorted(
            {path.name for path in self._folder.glob("records-*.ndjson")} - {segments.name(n) for n, _ in known}
        )
        if not known and any((self._folder / stray).stat().st_size for stray in strays):
            raise DestinationRefused(
                f"{self._folder} holds segments but {INDEX} knows none; restore {INDEX}, or move the segments aside"
            )
        for stray in strays:
            (self._folder / stray).unlink()
        for segment, committed in known[:-1]:
            os.close(segments.open_at(self._folder, segment, committed))
        if known:
            self._segment, self._length = known[-1]
            self._descriptor = segments.open_at(self._folder, self._segment, self._length)
        erasure.finish(connection, self._folder)

    def _write(self, connection: sqlite3.Connection, updates: Sequence[LogUpdate]) -> list[Place | None]:
        payloads = [batch.payload for update in updates for batch in update.batches if batch.kind == "records"]
        total = sum(map(len, payloads))
        self._written = self._length
        if not total:
            return [None for update in updates for _ in update.batches]
        if self._descriptor is None or (self._length and self._length + total > self._segment_bytes):
            self._rotate(connection)
        descriptor = self._descriptor
        assert descriptor is not None
        segments.append(descriptor, self._length, payloads)
        places: list[Place | None] = []
        offset = self._length
        for update in updates:
            for batch in update.batches:
                if batch.kind == "records":
                    places.append((self._segment, offset, len(batch.payload)))
                    offset += len(batch.payload)
                else:
                    places.append(None)
        connection.execute("UPDATE segments SET committed = ? WHERE segment = ?", (offset, self._segment))
        self._written = offset
        return places

    def _rotate(self, connection: sqlite3.Connection) -> None:
        descriptor = segments.create(self._folder, self._segment + 1)
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor, self._segment = descriptor, self._segment + 1
        self._length = self._written = 0
        connection.execute(
            "INSERT INTO segments(segment, name, committed) VALUES(?,?,0)",
            (self._segment, segments.name(self._segment)),
        )

    def _undo(self) -> None:
        if self._descriptor is not None:
            # Where even this fails, the next start cuts the segment.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._length)

    def _committed(self) -> None:
        self._length = self._written

    def _abandoned(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        self._segment = self._length = self._written = 0
        if descriptor is not None:
            os.close(descriptor)
