"""The tables of the SQLite destinations, as a person finds them, and how a database of ours is opened.

`application_id` and `user_version` say that a database is ours and which version of these tables it holds, so that a
release never writes into something it doesn't understand.
"""

import sqlite3
from pathlib import Path

from .base import DestinationDown, DestinationRefused

APPLICATION_ID = 0x4D465344  # "MFSD"
VERSION = 1
BUSY_SECONDS = 10.0

# `[first, size)` of a batch and the position of a log are leaf numbers; `time`, `first_seen`, `updated`, `seen_at`,
# `erased_at`, `not_before` and `not_after` are Unix seconds.
EVIDENCE = """
CREATE TABLE logs(
  origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, frontier BLOB NOT NULL,
  records INTEGER NOT NULL, notices INTEGER NOT NULL, stubbed INTEGER NOT NULL,
  head_size INTEGER NOT NULL, head_note BLOB NOT NULL, closed INTEGER NOT NULL,
  public_key BLOB NOT NULL, chain BLOB NOT NULL,
  final_size INTEGER NOT NULL, final_root BLOB NOT NULL, vouched_by TEXT NOT NULL, again_to INTEGER NOT NULL,
  first_seen INTEGER NOT NULL, updated INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE batches(
  origin TEXT NOT NULL, first INTEGER NOT NULL, size INTEGER NOT NULL, kind TEXT NOT NULL, "of" TEXT NOT NULL,
  note BLOB NOT NULL, roots BLOB NOT NULL, cosignature TEXT, time INTEGER NOT NULL,
  segment INTEGER, "offset" INTEGER, length INTEGER,
  PRIMARY KEY(origin, first)
) STRICT, WITHOUT ROWID;
CREATE TABLE notices(
  origin TEXT NOT NULL, idx INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY(origin, idx)
) STRICT, WITHOUT ROWID;
CREATE TABLE certificates(
  origin TEXT NOT NULL, chain BLOB NOT NULL, not_before INTEGER NOT NULL, not_after INTEGER NOT NULL,
  first_seen INTEGER NOT NULL, PRIMARY KEY(origin, chain)
) STRICT, WITHOUT ROWID;
CREATE TABLE sink_certificates(
  chain BLOB PRIMARY KEY, not_before INTEGER NOT NULL, not_after INTEGER NOT NULL, first_seen INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE erased(
  origin TEXT NOT NULL, idx INTEGER NOT NULL, leaf_hash BLOB NOT NULL, erased_at INTEGER NOT NULL,
  reason TEXT NOT NULL, PRIMARY KEY(origin, idx)
) STRICT, WITHOUT ROWID;
CREATE TABLE equivocations(
  origin TEXT NOT NULL, size INTEGER NOT NULL, note_held BLOB NOT NULL, note_seen BLOB NOT NULL,
  seen_at INTEGER NOT NULL, PRIMARY KEY(origin, note_held, note_seen)
) STRICT, WITHOUT ROWID;
"""

# Everything but origin and idx is NULL in a row that was erased; id to data are also NULL where a record has no such
# attribute or holds what the column can't. `raw` is the exact record.
RECORDS = """
CREATE TABLE records(
  origin TEXT NOT NULL, idx INTEGER NOT NULL, id TEXT, source TEXT, type TEXT, subject TEXT, time TEXT, data TEXT,
  raw BLOB, PRIMARY KEY(origin, idx)
) STRICT;
CREATE INDEX records_by_id ON records(id);
"""

# `committed` is the length up to which a segment is evidence; what lies beyond was never committed. `erasing` holds
# the spans whose erasure is decided but perhaps not yet on disk.
SEGMENTS = """
CREATE TABLE segments(segment INTEGER PRIMARY KEY, name TEXT NOT NULL, committed INTEGER NOT NULL) STRICT;
CREATE INDEX batches_by_place ON batches(segment, "offset") WHERE segment IS NOT NULL;
CREATE TABLE erasing(
  segment INTEGER NOT NULL, "offset" INTEGER NOT NULL, length INTEGER NOT NULL, PRIMARY KEY(segment, "offset")
) STRICT, WITHOUT ROWID;
"""


def connect(path: Path, schema: str, *, page_size: int = 4096) -> sqlite3.Connection:
    """Open or create the database at `path` with the tables of `schema`, set to fsync at every commit.

    The connection is in autocommit mode (transactions are begun by hand) and may move between threads. Raises
    DestinationRefused when the file is not ours or is of a newer release, DestinationDown when it can't be opened.
    """
    try:
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise DestinationDown(f"{path}: {error}") from error
    try:
        connection.execute(f"PRAGMA page_size={page_size}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute("PRAGMA journal_size_limit=67108864")
        _migrate(connection, path, schema)
    except sqlite3.DatabaseError as error:
        connection.close()
        # "database is locked", "disk is full" and the like pass by themselves; a malformed file doesn't.
        if isinstance(error, sqlite3.OperationalError):
            raise DestinationDown(f"{path}: {error}") from error
        raise DestinationRefused(
            f"{path}: {error}; restore it from a backup, or move it aside to begin anew"
        ) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, path: Path, schema: str) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _marks(connection) == (0, 0):
            if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                raise DestinationRefused(f"{path} is another program's database; name a new file")
            for statement in schema.split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={VERSION}")
        else:
            check_ours(connection, path)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def check_ours(connection: sqlite3.Connection, path: Path) -> None:
    """Raises DestinationRefused where the database isn't a sink's, or is of a newer release."""
    ours, version = _marks(connection)
    if ours != APPLICATION_ID:
        raise DestinationRefused(f"{path} is another program's database (application_id {ours}), not a sink's")
    if version > VERSION:
        raise DestinationRefused(
            f"{path} holds tables of version {version}, this release knows {VERSION}; use the newer release"
        )


def _marks(connection: sqlite3.Connection) -> tuple[int, int]:
    ours: int = connection.execute("PRAGMA application_id").fetchone()[0]
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return ours, version
