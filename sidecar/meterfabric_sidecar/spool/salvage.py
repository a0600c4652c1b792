"""Opening a database that may be damaged: a sidecar never refuses to start.

What can be read is copied row by row into a new database; the old one goes to the quarantine, where it fits. Batches
are found by their ids, around pages that can't be read; a payload that doesn't come along is found missing when it is
fetched. A log that lost rows of `batches` can't be delivered past the first of them, and is marked: `broken_at`. So is
one that ended early and whose rest was repeated in a log of which the row of `logs` is lost.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from meterfabric_protocol.limits import DEFAULT

from . import load, reader, schema
from .begun import naming
from .quarantine import Quarantine
from .rows import LogRow
from .schema import LOG_SPAN, is_corrupt, row_crc, row_id
from .settings import SpoolSettings

FOLDER: Final = "salvage"
"""Where the damaged database lies while it is read; a crash in between begins anew from it."""
_PARTS: Final = ("", "-wal", "-shm")
_CHUNK: Final = 16
"""Payloads copied in one transaction."""


def open_whole(path: Path, settings: SpoolSettings, quarantine: Quarantine) -> sqlite3.Connection:
    """Open the spool's database to write, salvaged first where it is damaged.

    Raises sqlite3.Error and OSError where the disk, not the file, is at fault.
    """
    folder = path.parent / FOLDER
    if not folder.exists():
        try:
            return _open(path, settings)
        except sqlite3.DatabaseError as error:
            if not is_corrupt(error):
                raise
    old = folder / path.name
    if not old.exists():
        folder.mkdir(mode=0o700, exist_ok=True)
        # The database last: until it is there, another start would begin with the move again.
        for part in reversed(_PARTS):
            with suppress(FileNotFoundError):
                path.with_name(path.name + part).rename(old.with_name(old.name + part))
    for part in _PARTS:
        path.with_name(path.name + part).unlink(missing_ok=True)
    new = _open(path, settings)
    try:
        fits = _copy(old, new)
    except BaseException:
        new.close()
        raise
    for part in _PARTS:
        rest = old.with_name(old.name + part)
        if fits and rest.exists():
            quarantine.adopt(rest)
        # On a disk that hadn't room for both, what is delivered matters more than what is looked at.
        rest.unlink(missing_ok=True)
    folder.rmdir()
    return new


def ask_for(path: Path) -> None:
    """Have the next start salvage the database at `path`."""
    with suppress(OSError):
        (path.parent / FOLDER).mkdir(mode=0o700, exist_ok=True)


def _open(path: Path, settings: SpoolSettings) -> sqlite3.Connection:
    db = schema.open_writer(path, settings.wal, settings.quota - settings.wal)
    try:
        # What every start reads must be readable; the rest is found out when it is fetched.
        for log in reader.logs(db):
            reader.batch_over(db, log.id, log.size - 1)
        reader.untold(db)
        db.execute("SELECT count(*) FROM cursors").fetchone()
        db.execute("SELECT max(seq) FROM recent").fetchone()
    except BaseException:
        db.close()
        raise
    return db


def _copy(old: Path, new: sqlite3.Connection) -> bool:
    """Whether the disk had room for all that could be read."""
    source = sqlite3.connect(old, isolation_level=None)
    source.text_factory = schema.read_text
    try:
        # Without this a file shorter than its header says is refused whole.
        with suppress(sqlite3.DatabaseError):
            source.execute("PRAGMA writable_schema = ON")
        for table in ("meta", "logs", "cursors"):
            _copy_small(source, new, table)
        new.execute("INSERT OR REPLACE INTO meta VALUES ('format', ?)", (schema.FORMAT,))
        for (log,) in new.execute("SELECT id FROM logs").fetchall():
            _copy_batches(source, new, log)
        _copy_rows(new, "recent", _walk(source, "recent", "seq", 0, 1 << 62))
        _mark_broken(new)
        try:
            _copy_payloads(source, new)
        except sqlite3.OperationalError:
            # No room on the disk for both. What a stub is made of is there; the other payloads will be told of as
            # missing.
            if new.in_transaction:
                new.execute("ROLLBACK")
            return False
        _mark_unnamed(new, _logs_told_of(source))
        return True
    finally:
        source.close()


def _copy_small(source: sqlite3.Connection, new: sqlite3.Connection, table: str) -> None:
    rows = []
    with suppress(sqlite3.DatabaseError):
        # Row by row: those before a page that can't be read are kept.
        for row in source.execute(f"SELECT * FROM {table}"):  # noqa: S608 (our own tables' names)
            rows.append(row)
    for row in rows:
        with suppress(sqlite3.DatabaseError):
            _insert(new, table, row)


def _copy_batches(source: sqlite3.Connection, new: sqlite3.Connection, log: int) -> None:
    new.execute("BEGIN")
    for batch in _walk(source, "batches", "id", log * LOG_SPAN, (log + 1) * LOG_SPAN):
        id_, of, first, size, kind, note, roots = batch[:7]
        if _whole(id_, of, first, size, kind, note, roots, batch[-1]):
            _insert(new, "batches", batch)
    new.execute("COMMIT")


def _copy_payloads(source: sqlite3.Connection, new: sqlite3.Connection) -> None:
    ids = new.execute("SELECT id FROM batches ORDER BY id")
    while chunk := ids.fetchmany(_CHUNK):
        new.execute("BEGIN")
        for (id_,) in chunk:
            for payload in _walk(source, "payloads", "id", id_, id_ + 1):
                _insert(new, "payloads", payload)
        new.execute("COMMIT")


def _whole(id_: Any, log: Any, first: Any, size: Any, kind: Any, note: Any, roots: Any, crc: Any) -> bool:
    """Whether a row of `batches` is as it was sealed."""
    types = (int, int, int, int, str, str, bytes, int)
    return (
        tuple(map(type, (id_, log, first, size, kind, note, roots, crc))) == types
        and id_ == row_id(log, first)
        and row_crc(log, first, size, kind, note.encode(), roots) == crc
    )


def _copy_rows(new: sqlite3.Connection, table: str, rows: Iterator[Sequence[Any]]) -> None:
    new.execute("BEGIN")
    for row in rows:
        _insert(new, table, row)
    new.execute("COMMIT")


def _insert(new: sqlite3.Connection, table: str, row: Sequence[Any]) -> None:
    marks = ", ".join("?" * len(row))
    # A value of a type that its column can't have is what is left of a page.
    with suppress(sqlite3.IntegrityError):
        new.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", row)  # noqa: S608 (our own tables' names)


def _walk(source: sqlite3.Connection, table: str, key: str, low: int, end: int) -> Iterator[Sequence[Any]]:
    """The rows with low ≤ key < end that can be read, in order."""
    statement = f"SELECT {key}, * FROM {table} WHERE {key} >= ? AND {key} < ? ORDER BY {key} LIMIT 1"  # noqa: S608

    def probe(at: int) -> Sequence[Any] | None:
        """The first row from `at` on; None where it can't be read."""
        try:
            row: Sequence[Any] | None = source.execute(statement, (at, end)).fetchone()
        except sqlite3.DatabaseError:
            return None
        return row or (end,)

    while low < end:
        row = probe(low)
        if row is None:
            low = _past_the_bad(probe, low, end)
            continue
        if len(row) > 1:
            yield row[1:]
        low = row[0] + 1


def _past_the_bad(probe: Any, low: int, end: int) -> int:
    """A key after `low`, which can't be read, from which on there is a readable row, or `end`.

    By steps that double, then bisected: a bad page holds neighbours.
    """
    step = 1
    while low + step < end and probe(low + step) is None:
        step *= 2
    bad, good = low + step // 2, min(low + step, end)
    while good - bad > 1:
        middle = (bad + good) // 2
        if probe(middle) is None:
            bad = middle
        else:
            good = middle
    return good


def _mark_broken(new: sqlite3.Connection) -> None:
    for log in reader.logs(new):
        at = 0
        rows = new.execute("SELECT first, size FROM batches WHERE id >= ? AND id < ? ORDER BY id", _span(log.id))
        for first, size in rows:
            if first != at:
                break
            at = size
        if at < log.size:
            new.execute("UPDATE logs SET broken_at = ? WHERE id = ?", (at, log.id))


def _logs_told_of(source: sqlite3.Connection) -> set[int]:
    """The logs that there are batches of."""
    found: set[int] = set()
    low = 0
    while (row := next(_walk(source, "batches", "id", low, 1 << 62), None)) is not None:
        log = row[0] // LOG_SPAN
        found.add(log)
        low = (log + 1) * LOG_SPAN
    return found


def _mark_unnamed(new: sqlite3.Connection, told_of: set[int]) -> None:
    """What is left past a log's early end is repeated once more where the log that did so is lost."""
    logs = reader.logs(new)
    newest_lost = max(told_of - {log.id for log in logs}, default=0)
    for log in logs:
        later = [each for each in logs if each.id > log.id]
        if log.superseded_at is None or log.id > newest_lost or any(_may_name(new, each, log) for each in later):
            continue
        new.execute(
            "UPDATE logs SET broken_at = min(superseded_at, ifnull(broken_at, superseded_at)), superseded_at = NULL"
            " WHERE id = ?",
            (log.id,),
        )


def _may_name(new: sqlite3.Connection, log: LogRow, previous: LogRow) -> bool:
    leaves = load.leaves(new, log, 0, DEFAULT)
    return not isinstance(leaves, list) or bool(naming(leaves, previous))


def _span(log: int) -> tuple[int, int]:
    return log * LOG_SPAN, (log + 1) * LOG_SPAN
