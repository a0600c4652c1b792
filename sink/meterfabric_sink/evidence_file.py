"""A `file` destination's folder, for reading and erasing."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from meterfabric_runtime import lock

from .destination import erasure, segments
from .destination.base import DestinationDown, StoredBatch
from .destination.file import INDEX, LOCK
from .destination.sqlite_tables import EVIDENCE, SEGMENTS, connect
from .evidence import Found
from .evidence_records import KEEP, is_it
from .evidence_sqlite import ask, open_read_only

_WINDOW_BYTES = 4 << 20
"""Read at once where a whole segment is looked through; a longer line is read whole."""


class FileStore:
    """See evidence.Store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._connection = open_read_only(folder / INDEX, "segments")
        self._descriptors: dict[int, int] = {}

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """See evidence.Store.query."""
        return ask(self._connection, sql, parameters)

    def records(self, batches: Sequence[StoredBatch]) -> Iterator[list[bytes | None]]:
        """See evidence.Store.records."""
        for batch in batches:
            leaves: list[bytes | None] = [*self._payload(batch.origin, batch.first).split(b"\n")]
            leaves.pop()  # what follows the last line feed
            yield leaves

    def find(self, source: str, record_id: str) -> list[Found]:
        """See evidence.Store.find."""
        # An id without an escape stands in its line as it is; with one, there is a backslash in the line.
        return self._scan(b'"%b"' % record_id.encode(), source, record_id) or self._scan(b"\\", source, record_id)

    def strays(self) -> Iterator[str]:
        """See evidence.Store.strays. What a worker appended and hasn't committed yet is none."""
        committed = dict(self.query("SELECT name, committed FROM segments"))
        # A worker makes the next segment before it commits the first bytes of it.
        coming = segments.name(len(committed) + 1) if self._is_at_work() else ""
        for path in sorted(self._folder.glob("*.ndjson")):
            if path.name not in committed and path.name != coming:
                yield f"{path.name} is no segment of this sink"
        held = dict.fromkeys(committed, 0)
        held |= dict(
            self.query(
                "SELECT name, sum(length) FROM batches JOIN segments USING(segment)"
                " WHERE kind = 'records' GROUP BY name"
            )
        )
        for name, length in held.items():
            if length != committed[name]:
                yield f"{name} has {committed[name]} bytes committed, its batches hold {length}"

    def astray(self, origin: str) -> Iterator[int]:
        """See evidence.Store.astray: lines have no columns."""
        return iter(())

    def erase(self, origin: str, index: int, hashed: bytes, erased_at: int, reason: str) -> None:
        """See evidence.Store.erase."""
        segment, offset, _, first = self._place(origin, index)
        lines = self._payload(origin, index).split(b"\n")
        position = index - first
        begin = offset + sum(len(line) + 1 for line in lines[:position])
        writer = connect(self._folder / INDEX, EVIDENCE + SEGMENTS)
        try:
            writer.execute("BEGIN IMMEDIATE")
            writer.execute(KEEP, (origin, index, hashed, erased_at, reason))
            writer.execute("INSERT OR IGNORE INTO erasing VALUES(?, ?, ?)", (segment, begin, len(lines[position])))
            writer.execute("COMMIT")
            erasure.finish(writer, self._folder)
        except (sqlite3.Error, OSError) as error:
            raise DestinationDown(f"{self._folder}: {error}") from error
        finally:
            writer.close()
        self._connection.execute("COMMIT")
        self._connection.execute("BEGIN")

    def close(self) -> None:
        """See evidence.Store.close."""
        self._connection.close()
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def _is_at_work(self) -> bool:
        """Whether a worker holds the folder's lock, as far as we may know."""
        try:
            return lock.is_taken(self._folder / LOCK)
        except OSError:
            return False

    def _place(self, origin: str, index: int) -> tuple[int, int, int, int]:
        """Segment, offset and length of the batch that holds a leaf, and its first leaf."""
        sql = (
            'SELECT segment, "offset", length, first FROM batches WHERE origin = ? AND first <= ?'
            " ORDER BY first DESC LIMIT 1"
        )
        segment, offset, length, first = self.query(sql, (origin, index))[0]
        return segment, offset, length, first

    def _payload(self, origin: str, index: int) -> bytes:
        """The bytes of the batch that holds a leaf; what a lost or short segment has of them."""
        segment, offset, length, _ = self._place(origin, index)
        return self._read(segment, offset, length)

    def _scan(self, needle: bytes, source: str, record_id: str) -> list[Found]:
        """The records in whose line `needle` stands and that are the one wanted."""
        found = []
        for segment, name, committed in self.query("SELECT segment, name, committed FROM segments ORDER BY segment"):
            if not (self._folder / name).exists():
                continue
            for begin, lines in _windows(self._folder / name, committed):
                at = lines.find(needle)
                while at >= 0:
                    start, end = lines.rfind(b"\n", 0, at) + 1, lines.find(b"\n", at)
                    end = len(lines) if end < 0 else end
                    if is_it(lines[start:end], source, record_id):
                        found.append(self._leaf_at(segment, begin + start))
                    at = lines.find(needle, end)
        return found

    def _leaf_at(self, segment: int, offset: int) -> Found:
        sql = (
            'SELECT origin, first, "offset" FROM batches WHERE segment = ? AND "offset" <= ?'
            ' ORDER BY "offset" DESC LIMIT 1'
        )
        origin, first, begin = self.query(sql, (segment, offset))[0]
        return Found(origin, first + self._read(segment, begin, offset - begin).count(b"\n"))

    def _read(self, segment: int, offset: int, length: int) -> bytes:
        """Bytes of a segment, what a lost or short one has of them."""
        try:
            if segment not in self._descriptors:
                path = self._folder / segments.name(segment)
                self._descriptors[segment] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(self._descriptors[segment], length, offset)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise DestinationDown(f"{self._folder}: {error}") from error


def _windows(path: Path, committed: int) -> Iterator[tuple[int, bytes]]:
    """The committed lines of a segment, some MiB of whole ones at a time, and where they begin."""
    begin, rest = 0, b""
    with path.open("rb") as file:
        while chunk := file.read(min(_WINDOW_BYTES, committed - begin - len(rest))):
            lines = rest + chunk
            cut = lines.rfind(b"\n") + 1
            yield begin, lines[:cut]
            begin, rest = begin + cut, lines[cut:]
    yield begin, rest
