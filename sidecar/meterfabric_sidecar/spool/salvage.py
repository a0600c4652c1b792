"""Opening a database that may be damaged: a sidecar never refuses to start."""

import sqlite3
from pathlib import Path

from meterfabric_protocol.errors import Malformed
from meterfabric_protocol.limits import Limits

from . import reader, schema
from .load import is_corrupt
from .quarantine import Quarantine
from .settings import SpoolSettings


def open_whole(path: Path, settings: SpoolSettings, quarantine: Quarantine, limits: Limits) -> sqlite3.Connection:
    """Open the spool's database to write; what can't be read goes to the quarantine first.

    Raises sqlite3.Error and OSError where the disk, not the file, is at fault.
    """
    try:
        return _open(path, settings)
    except (sqlite3.DatabaseError, Malformed) as error:
        if isinstance(error, sqlite3.DatabaseError) and not is_corrupt(error):
            raise
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            quarantine.adopt(part)
    return _open(path, settings)


def _open(path: Path, settings: SpoolSettings) -> sqlite3.Connection:
    db = schema.open_writer(path, settings.wal, settings.quota - settings.wal)
    try:
        reader.logs(db)
    except BaseException:
        db.close()
        raise
    return db
