"""Erasing a record's bytes from a segment in place, so that every other record stays where the index says.

The index is told first (`erased` and `erasing` in one transaction), then the bytes are overwritten and fsynced, then
`erasing` is cleared. A crash between is finished at the next start, so "erased" is never claimed falsely for long and
a half-written line never stays.
"""

import os
import sqlite3
from pathlib import Path

from . import segments

_MARK = b'{"erased":true'


def filler(length: int) -> bytes:
    """Valid JSON of exactly `length` bytes that says that the record was erased."""
    if length > len(_MARK):
        return _MARK + b" " * (length - len(_MARK) - 1) + b"}"
    return b"0".rjust(length)


def finish(connection: sqlite3.Connection, folder: Path) -> None:
    """Overwrite every span that is to be erased, make it durable and clear the list. Raises OSError, sqlite3.Error."""
    for segment, offset, length in connection.execute('SELECT segment, "offset", length FROM erasing').fetchall():
        descriptor = os.open(folder / segments.name(segment), os.O_WRONLY | os.O_CLOEXEC)
        try:
            written, content = 0, filler(length)
            while written < length:
                written += os.pwrite(descriptor, content[written:], offset + written)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        connection.execute('DELETE FROM erasing WHERE segment = ? AND "offset" = ?', (segment, offset))
