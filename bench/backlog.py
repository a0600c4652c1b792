"""What the spool's operations cost, and its memory, on an empty spool and on one with a backlog of 50 GB.

The backlog is laid into the database directly: ten thousand batches of a thousand records each, payloads of zeros whose
pages are punched out of the file as they are written, so that it takes a quarter of its size on the disk. What is read
or dropped lies before it and is real; what is committed goes behind it. Run as `python -m bench.backlog [FOLDER] [GB]`.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import ctypes.util
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.events import Events
from bench.report import progress, quantile, say
from meterfabric_protocol.delivery.effects import CursorRow
from meterfabric_protocol.merkle import CompactRange
from meterfabric_protocol.record import split_lines
from meterfabric_sidecar.dedup import Dedup
from meterfabric_sidecar.intake import Intake
from meterfabric_sidecar.keys import KeyFolder
from meterfabric_sidecar.producer_log import ProducerLog, origin_maker
from meterfabric_sidecar.settings import SpoolPart
from meterfabric_sidecar.spool import Spool, SpoolSettings
from meterfabric_sidecar.spool.schema import LOG_SPAN, PAGE_BYTES, row_crc

RECORDS = 10_000_000
PER_BATCH = 1_000
REAL = 60
"""Real batches before the backlog."""
ROUNDS = 30
QUOTA = 200 << 30
_ZEROS = bytes(PAGE_BYTES - 4096)


def measure(folder: Path | None = None, gigabytes: float = 50.0) -> None:
    """Print the costs side by side."""
    own = folder is None
    folder = folder or Path(tempfile.mkdtemp(prefix="backlog-"))
    try:
        small, large = folder / "small", folder / "large"
        asyncio.run(_prepare(small))
        asyncio.run(_prepare(large))
        _lay(large, int(gigabytes * 1e9))
        size = large / "spool" / "spool.db"
        say(
            "backlog_bytes",
            size.stat().st_size,
            "B",
            f"{size.stat().st_blocks * 512:,} on the disk, {RECORDS:,} records",
        )
        few, many = asyncio.run(_costs(small)), asyncio.run(_costs(large))
        for name, (p50, p99) in many.items():
            say(
                f"backlog_{name}",
                p50,
                "ms",
                f"p99 {p99:.3g}; without a backlog {few[name][0]:.3g}, p99 {few[name][1]:.3g}",
            )
    finally:
        if own:
            shutil.rmtree(folder)


class _Sidecar:
    """Spool, log and intake."""

    def __init__(self, spool: Spool, folder: Path) -> None:
        self.spool = spool
        self.log = ProducerLog(spool, KeyFolder(folder / "key"), origin_maker("bench.backlog", "bench", "pod"))
        window = SpoolPart()
        dedup = Dedup(spool, window.dedup_records, window.dedup_seconds)
        self.intake = Intake(self.log, dedup)
        self.start = dedup.load

    @classmethod
    async def open(cls, folder: Path) -> _Sidecar:
        found = cls(await Spool.open(folder / "spool", SpoolSettings(quota=QUOTA)), folder)
        await found.start()
        await found.log.open()
        return found


async def _prepare(folder: Path) -> None:
    sidecar = await _Sidecar.open(folder)
    for body in Events(PER_BATCH, 300, stream=1).messages(REAL):
        await sidecar.intake.accept(split_lines(body))
    await sidecar.spool.close()


def _lay(folder: Path, size: int) -> None:
    """Put the backlog behind the real batches: rows as sealing leaves them, but for hashes of nothing."""
    path = folder / "spool" / "spool.db"
    batches = RECORDS // PER_BATCH
    each = size // batches
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = OFF")
    db.execute("PRAGMA synchronous = OFF")
    log, first, records, stored = db.execute("SELECT id, size, records, bytes FROM logs").fetchone()
    (sealed_at,) = db.execute("SELECT value FROM meta WHERE key = 'clock'").fetchone()
    note, utc = db.execute("SELECT note, sealed_utc FROM batches WHERE kind = 'records' LIMIT 1").fetchone()
    punched = 0
    roots = os.urandom(320)
    for number in range(batches):
        db.execute(
            "INSERT INTO batches VALUES (?, ?, ?, ?, 'records', ?, ?, ?, ?, ?, ?, ?, ?, NULL, 0, ?)",
            (
                *(log * LOG_SPAN + first, log, first, first + PER_BATCH, note, roots, PER_BATCH, records),
                *(each, stored, sealed_at + number * 0.001, utc),
                row_crc(log, first, first + PER_BATCH, "records", note.encode(), roots),
            ),
        )
        db.execute(
            "INSERT INTO payloads VALUES (?, ?, ?, 'records', 'none', ?, zeroblob(?))",
            (log * LOG_SPAN + first, log, first, each, each),
        )
        first, records, stored = first + PER_BATCH, records + PER_BATCH, stored + each
        if number % 100 == 99:
            punched = _punch(path, punched)
            progress(f"{number + 1} of {batches} batches")
    tiles = bin(first).count("1")
    frontier = CompactRange(0, first, tuple(os.urandom(32) for _ in range(tiles)))
    db.execute(
        "UPDATE logs SET size = ?, root = ?, frontier = ?, batches = batches + ?, records = ?, bytes = ? WHERE id = ?",
        (first, frontier.root(), frontier.encode(), batches, records, stored, log),
    )
    db.execute("UPDATE meta SET value = ? WHERE key = 'clock'", (sealed_at + batches * 0.001,))
    db.close()
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _punch(path: Path, start: int) -> int:
    """Give back the zeros of the pages written since `start`: all of a page but its first block, which links on."""
    punch, keep = 2, 1
    libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
    end = path.stat().st_size
    with path.open("r+b") as file:
        for page in range(start, end - PAGE_BYTES, PAGE_BYTES):
            if os.pread(file.fileno(), len(_ZEROS), page + 4096) == _ZEROS:
                libc.fallocate(file.fileno(), punch | keep, ctypes.c_long(page + 4096), ctypes.c_long(len(_ZEROS)))
    return end


async def _costs(folder: Path) -> dict[str, tuple[float, float]]:
    begun = time.perf_counter()
    sidecar = await _Sidecar.open(folder)
    found = {"start": ((time.perf_counter() - begun) * 1e3,) * 2}
    spool, origin, before = sidecar.spool, sidecar.log.origin, _rss()
    numbers = iter(range(1, 1 << 40))
    many, one = Events(PER_BATCH, 300, stream=5), Events(1, 300, stream=6)

    async def drop() -> None:
        number = next(numbers)
        spool.drop_to(origin, 1 + PER_BATCH * number)
        spool.save_cursor(origin, "sink", CursorRow(1 + PER_BATCH * number))
        await spool.flush()

    work: dict[str, Callable[[], Awaitable[object]]] = {
        "accept_1000": lambda: sidecar.intake.accept(split_lines(many.message(next(numbers)))),
        "accept_1": lambda: sidecar.intake.accept(split_lines(one.message(next(numbers)))),
        "fetch_1000": lambda: spool.fetch(origin, 1 + PER_BATCH * 40, 1, 1),
        "boundary_by_age": lambda: spool.boundary_at(origin, 1, spool.clock.now() - 3.0),
        "boundary_by_bytes": lambda: spool.boundary_after(origin, 1, 20 << 30),
        "pending": lambda: spool.pending(origin, 1),
        "facts": spool.facts,
    }
    for name, call in work.items():
        found[name] = await _timed(call)
    numbers = iter(range(1, 1 << 40))
    found["drop_1000"] = await _timed(drop)
    say(f"backlog_memory_{folder.name}", _rss(), "MiB", f"after the start {before:.3g}")
    await spool.close()
    return found


async def _timed(call: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    seconds = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        await call()
        seconds.append(time.perf_counter() - begun)
    return quantile(seconds, 0.5) * 1e3, quantile(seconds, 0.99) * 1e3


def _rss() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="where to build it (default: a temporary folder)")
    parser.add_argument("gigabytes", nargs="?", type=float, default=50.0)
    arguments = parser.parse_args()
    measure(arguments.folder, arguments.gigabytes)
