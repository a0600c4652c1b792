"""What the kernel says of each process now: one pass over /proc.

Counters here are what the kernel counts since each process began. Turning two passes into usage is `usage.py`'s.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

# Fields of /proc/PID/stat after the command name, counted from the state (proc_pid_stat(5): field 3 is index 0).
_UTIME, _STIME, _STARTTIME, _RSS = 11, 12, 19, 21


class ProcessKey(NamedTuple):
    """Names one process for good: the kernel gives a pid again, but never with the same start."""

    pid: int
    start_ticks: int
    """Clock ticks from boot to the process's start."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One process at one moment."""

    uid: int
    """Real user id."""
    cpu_ticks: int
    """Clock ticks in user and kernel mode since the process began."""
    rss_bytes: int
    """Resident memory now."""


@dataclass(frozen=True, slots=True)
class Scan:
    """All processes at one moment."""

    wall: float
    """Seconds since the epoch."""
    boot: float
    """Seconds since boot, time asleep included: the clock that process starts are told in."""
    processes: dict[ProcessKey, Reading]


@dataclass(frozen=True, slots=True)
class Units:
    """The kernel's units, which depend on how it was built."""

    ticks_per_second: int
    page_bytes: int

    @classmethod
    def of_this_machine(cls) -> Units:
        """Ask the C library (sysconf)."""
        return cls(os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE"))


def scan(root: Path, units: Units) -> Scan:
    """Read every process under `root` (usually /proc); one that ends meanwhile is left out.

    Raises OSError when `root` itself can't be read: a scrape missed as a whole, not a machine without processes.
    """
    processes: dict[ProcessKey, Reading] = {}
    boot, wall = time.clock_gettime(time.CLOCK_BOOTTIME), time.time()
    for name in os.listdir(root):
        if name.isdecimal():
            found = _read(root / name, units)
            if found is not None:
                start_ticks, reading = found
                processes[ProcessKey(int(name), start_ticks)] = reading
    return Scan(wall, boot, processes)


def _read(folder: Path, units: Units) -> tuple[int, Reading] | None:
    """The process's start and reading, or None when it is gone or unreadable."""
    try:
        stat = (folder / "stat").read_bytes()
        status = (folder / "status").read_bytes()
    except OSError:
        return None
    return parse(stat, status, units)


def parse(stat: bytes, status: bytes, units: Units) -> tuple[int, Reading] | None:
    """Decode /proc/PID/stat and /proc/PID/status (proc_pid_stat(5), proc_pid_status(5)); None when either is cut short.

    The command name in `stat` is in parentheses and may itself hold spaces and parentheses, so fields are counted
    from the last one.
    """
    _, closing, rest = stat.rpartition(b")")
    fields = rest.split()
    _, uid_label, uids = status.partition(b"\nUid:")
    if not closing or not uid_label or len(fields) <= _RSS:
        return None
    uid = int(uids.split(None, 1)[0])
    cpu_ticks = int(fields[_UTIME]) + int(fields[_STIME])
    return int(fields[_STARTTIME]), Reading(uid, cpu_ticks, int(fields[_RSS]) * units.page_bytes)
