"""The spool's tables, and how its database is opened.

A person can read all of it with the `sqlite3` shell: payloads are NDJSON text (unless compressed), notes are the text
that was signed, times stand beside the spool clock's seconds as UTC.

What is looked up on the way of a record is keyed by (log, first), packed into one integer so that it is the rowid: a
range of a log is a range of rowids, and there is no second B-tree to write.
"""

import sqlite3
from pathlib import Path
from typing import Final
from zlib import crc32

APPLICATION_ID: Final = 0x4D464653
"""Marks the file as a Meterfabric spool (`PRAGMA application_id`)."""
FORMAT: Final = 1
"""The format of the tables (`PRAGMA user_version`)."""
PAGE_BYTES: Final = 16_384
LOG_SPAN: Final = 1 << 44
"""A row's id is log * LOG_SPAN + first: a log holds fewer leaves than this."""

_TABLES: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
CREATE TABLE logs (
  id INTEGER PRIMARY KEY,
  origin TEXT NOT NULL UNIQUE,
  public_key BLOB NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('active', 'closed', 'dead')),
  size INTEGER NOT NULL,              -- leaves
  root BLOB NOT NULL,                 -- at size
  frontier BLOB NOT NULL,             -- compact range [0, size), 32 bytes a hash
  batches INTEGER NOT NULL,
  records INTEGER NOT NULL,           -- ever accepted
  bytes INTEGER NOT NULL,             -- of payloads, ever stored
  dropped_to INTEGER NOT NULL,        -- records' payloads before this leaf are gone
  chain TEXT,                         -- PEM, leaf first; NULL until enrolled
  opened_at REAL NOT NULL,            -- spool clock, seconds
  opened_utc TEXT NOT NULL,
  ended_at REAL,                      -- closed, or dead since
  superseded_at INTEGER,              -- past this leaf another log repeats it
  broken_at INTEGER                   -- past this leaf another log has yet to repeat what is left of it
) STRICT;
-- What stays for the log's life: with it the batch can travel as a stub.
CREATE TABLE batches (
  id INTEGER PRIMARY KEY,             -- log * LOG_SPAN + first
  log INTEGER NOT NULL,
  first INTEGER NOT NULL,
  size INTEGER NOT NULL,
  kind TEXT NOT NULL,                 -- records | notices
  note TEXT NOT NULL,                 -- signed checkpoint at size
  roots BLOB NOT NULL,                -- compact range [first, size)
  records INTEGER NOT NULL,
  records_before INTEGER NOT NULL,    -- in the log, before first
  bytes INTEGER NOT NULL,             -- of payload as stored
  bytes_before INTEGER NOT NULL,
  sealed_at REAL NOT NULL,            -- spool clock, seconds
  sealed_utc TEXT NOT NULL,
  damaged TEXT,                       -- why the payload was given up
  told INTEGER NOT NULL DEFAULT 0,    -- a notice about the damage is sealed
  crc INTEGER NOT NULL                -- of what else in the row never changes: see `row_crc`
) STRICT;
CREATE INDEX untold ON batches (id) WHERE damaged IS NOT NULL AND told = 0;
CREATE TABLE payloads (
  id INTEGER PRIMARY KEY,             -- as in batches
  log INTEGER NOT NULL,
  first INTEGER NOT NULL,
  kind TEXT NOT NULL,
  codec TEXT NOT NULL,                -- none | zstd
  length INTEGER NOT NULL,            -- uncompressed bytes
  body ANY NOT NULL                   -- one leaf a line: TEXT where codec is none
) STRICT;
CREATE TABLE cursors (
  log INTEGER NOT NULL,
  sink TEXT NOT NULL,
  acked INTEGER NOT NULL,             -- the sink has, or passed over, the leaves before this boundary
  root BLOB NOT NULL,                 -- the log's root there
  receipt TEXT NOT NULL,              -- the newest cosignature line held
  excused_from INTEGER NOT NULL,      -- leaves that a notice lets pass as stubs
  excused_to INTEGER NOT NULL,
  utc TEXT NOT NULL,
  PRIMARY KEY (log, sink)
) STRICT, WITHOUT ROWID;
-- The keys of the newest records, against doubles; outlives the payloads.
CREATE TABLE recent (
  seq INTEGER PRIMARY KEY,
  log INTEGER NOT NULL,
  first INTEGER NOT NULL,
  sealed_at REAL NOT NULL,
  keys TEXT NOT NULL,                 -- source, U+001F, id; one a line
  leaf_hashes BLOB NOT NULL           -- 32 bytes each, in the keys' order
) STRICT;
"""

# One statement seals a batch: sqlite3 lets go of Python's lock once, from the first insert to the end of the fsync,
# where five statements would queue for it five times behind whatever the event loop is busy with.
_SEALING: Final = """
CREATE VIEW sealing AS SELECT
  NULL AS log, NULL AS first, NULL AS size, NULL AS kind, NULL AS note, NULL AS roots, NULL AS crc,
  NULL AS root, NULL AS frontier,
  NULL AS records, NULL AS sealed_at, NULL AS sealed_utc, NULL AS codec, NULL AS length, NULL AS body, NULL AS stored,
  NULL AS seq, NULL AS keys, NULL AS leaf_hashes;
CREATE TRIGGER seal INSTEAD OF INSERT ON sealing BEGIN
  SELECT RAISE(ABORT, 'the batch does not begin where its log ends')
    WHERE (SELECT size FROM logs WHERE id = NEW.log AND state = 'active') IS NOT NEW.first;
  INSERT INTO batches
    SELECT id * LOG_SPAN + NEW.first, id, NEW.first, NEW.size, NEW.kind, CAST(NEW.note AS TEXT), NEW.roots,
      NEW.records, records, NEW.stored, bytes, NEW.sealed_at, NEW.sealed_utc, NULL, 0, NEW.crc
    FROM logs WHERE id = NEW.log;
  INSERT INTO payloads VALUES (NEW.log * LOG_SPAN + NEW.first, NEW.log, NEW.first, NEW.kind, NEW.codec, NEW.length,
    CASE NEW.codec WHEN 'none' THEN CAST(NEW.body AS TEXT) ELSE NEW.body END);
  INSERT INTO recent SELECT NEW.seq, NEW.log, NEW.first, NEW.sealed_at, CAST(NEW.keys AS TEXT), NEW.leaf_hashes
    WHERE NEW.keys IS NOT NULL;
  UPDATE logs SET size = NEW.size, root = NEW.root, frontier = NEW.frontier, batches = batches + 1,
    records = records + NEW.records, bytes = bytes + NEW.stored WHERE id = NEW.log;
  UPDATE meta SET value = NEW.sealed_at WHERE key = 'clock';
END;
"""

_CREATE: Final = "".join(
    [
        "BEGIN IMMEDIATE;",
        _TABLES.replace("LOG_SPAN", str(LOG_SPAN)),
        _SEALING.replace("LOG_SPAN", str(LOG_SPAN)),
        "INSERT INTO meta VALUES ('clock', 0.0), ('format', FORMAT);".replace("FORMAT", str(FORMAT)),
        f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}; COMMIT;",
    ]
)


class SpoolUnusable(Exception):
    """The database is whole, and none that this release may touch."""


def row_id(log: int, first: int) -> int:
    """The id of the batch of `log` that begins at leaf `first`."""
    return log * LOG_SPAN + first


def row_crc(log: int, first: int, size: int, kind: str, note: bytes, roots: bytes) -> int:
    """The CRC-32 of what no hash covers, or none that is at hand, and what a stub consists of."""
    return crc32(b"%d %d %d %s\n%s%s" % (log, first, size, kind.encode(), note, roots))


def is_corrupt(error: sqlite3.Error) -> bool:
    """Whether SQLite says that the file is damaged, rather than full or locked."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def corrupt(what: str) -> sqlite3.DatabaseError:
    """The error that `is_corrupt` knows, for damage that SQLite itself can't see."""
    error = sqlite3.DatabaseError(what)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def open_writer(path: Path, wal_bytes: int, max_bytes: int | None = None) -> sqlite3.Connection:
    """Open the database to write, creating its tables where it is new.

    `wal_bytes` is where the WAL is folded back and cut to; `max_bytes` is a last bound on the database file, past which
    SQLite refuses with SQLITE_FULL. Raises SpoolUnusable where the file is none of ours, sqlite3.Error.
    """
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
    db.text_factory = read_text
    try:
        # Pages of 16 KiB commit 320 KB in two thirds of the time that 4 KiB take; incremental, so that room which a
        # backlog took can be given back to the file system in small steps.
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        # Some distributions overwrite what is deleted, which would write every dropped payload a second time.
        db.execute("PRAGMA secure_delete = OFF")
        # What one commit changes, and the inner pages on the way there; payloads are written and not read again.
        db.execute("PRAGMA cache_size = -2048")
        _keep_to_memory(db)
        db.execute(f"PRAGMA wal_autocheckpoint = {max(1, wal_bytes // PAGE_BYTES)}")
        db.execute(f"PRAGMA journal_size_limit = {wal_bytes}")
        if max_bytes is not None:
            db.execute(f"PRAGMA max_page_count = {max(64, max_bytes // PAGE_BYTES)}")
        _create(db)
    except BaseException:
        db.close()
        raise
    return db


def open_reader(path: Path) -> sqlite3.Connection:
    """Open the database to read only. Raises sqlite3.Error."""
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False)
    db.text_factory = read_text
    db.execute("PRAGMA cache_size = -512")
    _keep_to_memory(db)
    return db


def _keep_to_memory(db: sqlite3.Connection) -> None:
    """What a statement needs for a moment: the folders where SQLite would put it are read-only in our containers."""
    db.execute("PRAGMA temp_store = MEMORY")


def read_text(text: bytes) -> str:
    """Text as it may come from a damaged disk: never an error."""
    return text.decode(errors="replace")


def _create(db: sqlite3.Connection) -> None:
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if (application, version) == (APPLICATION_ID, FORMAT):
        return
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not tables:
        db.executescript(_CREATE)
        return
    if "meta" not in tables:
        raise SpoolUnusable("the file holds another program's tables: give the spool a folder of its own")
    row = db.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
    if row != (FORMAT,):
        found = row[0] if row else version
        raise SpoolUnusable(f"the spool has format {found}, this release reads {FORMAT}: use the one that wrote it")
    # The file's header says otherwise than its table: damage, and easily mended.
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {FORMAT}")
