"""The spool's threads and connections: one thread writes, one reads, and both survive a disk that fails.

After an error of the disk or of SQLite the writing connection is thrown away; the next use opens it anew, at most once
a second, and the state is read back from what the disk holds. Where SQLite finds the file itself damaged there is no
going on: `ruined` is set, and the next start salvages it.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from . import schema

T = TypeVar("T")

RETRY_SECONDS: Final = 1.0


class SpoolFull(Exception):
    """Nothing can be stored now: quota, or a disk that is full or fails. Ask again after `retry_after` seconds."""

    def __init__(self, reason: str, retry_after: float) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class Files:
    """Runs functions on the database at `path`.

    `reopen(failure)` gives a connection to write with, after whatever a database needs that failed so (None at start);
    it runs while nobody reads, so it may exchange the file. `on_ruined` runs where the file is found damaged.
    """

    def __init__(
        self,
        path: Path,
        reopen: Callable[[str | None], sqlite3.Connection],
        monotonic: Callable[[], float],
        on_ruined: Callable[[], None],
    ) -> None:
        self.failure: str | None = None
        """Why nothing can be written at present; None when all is well."""
        self.ruined = asyncio.Event()
        """Set where the database is damaged so that only salvage helps."""
        self._on_ruined = on_ruined
        self._loop = asyncio.get_running_loop()
        self._path = path
        self._open = reopen
        self._monotonic = monotonic
        self._retry_at = float("-inf")
        self._closed = False
        self._writer = ThreadPoolExecutor(1, "spool-writer")
        self._reader = ThreadPoolExecutor(1, "spool-reader")
        # Each is held while its connection is in use, and both while the file may be exchanged.
        self._reading = threading.Lock()
        self._looking = threading.Lock()
        self._write_db: sqlite3.Connection | None = None
        self._read_db: sqlite3.Connection | None = None
        self._look_db: sqlite3.Connection | None = None

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in the writer's thread. Raises SpoolFull where the disk or SQLite refuse."""
        if self._closed:
            raise SpoolFull("the spool is closed", RETRY_SECONDS)
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._in_writer, work)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in the reader's thread, on a connection that can't write. Raises sqlite3.Error."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, self._in_reader, work)

    def look(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` here and now: for a lookup that can't wait in the reader's queue. Raises sqlite3.Error."""
        with self._looking:
            if self._look_db is None:
                self._look_db = schema.open_reader(self._path)
            return work(self._look_db)

    async def close(self) -> None:
        """Finish what runs and close the connections."""
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(self._writer, self._close)
        self._writer.shutdown()
        self._reader.shutdown()

    def _in_writer(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._write_db is None and (self.ruined.is_set() or self._monotonic() < self._retry_at):
            raise SpoolFull(f"the spool can't be written: {self.failure}", RETRY_SECONDS)
        try:
            if self._write_db is None:
                self._write_db = self._reopen()
            return work(self._write_db)
        except (sqlite3.Error, OSError) as error:
            self._give_up_writing()
            self.failure = f"{type(error).__name__}: {error}"
            self._retry_at = self._monotonic() + RETRY_SECONDS
            self._judge(error)
            raise SpoolFull(f"the spool can't be written: {error}", RETRY_SECONDS) from error

    def _reopen(self) -> sqlite3.Connection:
        with self._reading, self._looking:
            self._close_readers()
            db = self._open(self.failure)
        self.failure = None
        return db

    def _in_reader(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._reading:
            if self._read_db is None:
                self._read_db = schema.open_reader(self._path)
            try:
                return work(self._read_db)
            except sqlite3.Error as error:
                self._judge(error)
                raise

    def _judge(self, error: Exception) -> None:
        if isinstance(error, sqlite3.Error) and schema.is_corrupt(error):
            self.failure = f"the database is damaged: {error}"
            self._on_ruined()
            self._loop.call_soon_threadsafe(self.ruined.set)

    def _give_up_writing(self) -> None:
        if self._write_db is not None:
            self._write_db.close()
            self._write_db = None

    def _close_readers(self) -> None:
        for db in (self._read_db, self._look_db):
            if db is not None:
                db.close()
        self._read_db = self._look_db = None

    def _close(self) -> None:
        with self._reading, self._looking:
            self._close_readers()
            self._give_up_writing()
