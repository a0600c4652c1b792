"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import zmq

from bench.report import say

_SYNCS = 100


def tell() -> None:
    """Print the machine: processor, cores, memory, kernel, versions, and what one durable write costs here."""
    say("machine", f"{_processor()}, {len(os.sched_getaffinity(0))} cores, {_memory_gib():.0f} GiB")
    say("kernel", f"{platform.system()} {platform.release()}")
    libraries = ", ".join(f"{name} {version(name)}" for name in ("msgspec", "cryptography", "uvloop", "psycopg"))
    say("versions", f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, libzmq {zmq.zmq_version()}")
    say("libraries", libraries)
    say("fsync", _sync_seconds() * 1e6, "us", f"median of {_SYNCS}, after a 4 KiB append")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _sync_seconds() -> float:
    seconds = []
    with tempfile.TemporaryFile() as file:
        for _ in range(_SYNCS):
            begun = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fdatasync(file.fileno())
            seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds)
