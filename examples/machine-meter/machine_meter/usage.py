"""What each user consumed between two passes over /proc. No I/O: two scans in, usage out.

The rules, so that nobody is billed for what was not measured:

- A process known from the scan before counts the CPU it used since.
- A process that began since then counts all its CPU.
- A process that is older than the scan before, yet was not in it (the meter has just begun, or could not read it),
  counts from now on only: what it used earlier may be billed already, or be someone else's.
- A counter that went back was reset (a process restored from a checkpoint): what it shows now was used since.
- A process that is gone counts nothing for its last part of an interval: a lower bound.
- Memory is the mean of both readings times the time between them; a new process's counts from its start.
- Intervals join up. One scrape missed makes the next interval longer, and no CPU is lost.
- A process that changed its user counts for the user it has at the interval's end.
"""

from __future__ import annotations

from dataclasses import dataclass

from machine_meter.proc import ProcessKey, Reading, Scan, Units


@dataclass(slots=True)
class Usage:
    """One user's consumption in one interval."""

    cpu_ticks: int = 0
    memory_byte_seconds: float = 0.0
    processes: int = 0


def between(before: Scan, after: Scan, units: Units) -> dict[int, Usage]:
    """Usage by user id from `before` to `after`; empty when no time passed."""
    seconds = after.boot - before.boot
    if seconds <= 0:
        return {}
    users: dict[int, Usage] = {}
    for key, now in after.processes.items():
        ticks, byte_seconds = _of_process(key, before.processes.get(key), now, before, after, units)
        usage = users.setdefault(now.uid, Usage())
        usage.cpu_ticks += ticks
        usage.memory_byte_seconds += byte_seconds
        usage.processes += 1
    return users


def _of_process(
    key: ProcessKey, earlier: Reading | None, now: Reading, before: Scan, after: Scan, units: Units
) -> tuple[int, float]:
    """CPU ticks and memory byte-seconds of one process."""
    seconds = after.boot - before.boot
    if earlier is not None:
        grown = now.cpu_ticks - earlier.cpu_ticks
        ticks = grown if grown >= 0 else now.cpu_ticks
        return ticks, (earlier.rss_bytes + now.rss_bytes) / 2 * seconds
    started = key.start_ticks / units.ticks_per_second
    # The start is told in whole ticks, rounded down: one tick of leeway keeps a process begun just after the scan.
    if started + 1 / units.ticks_per_second < before.boot:
        return 0, 0.0
    lived = min(seconds, max(0.0, after.boot - started))
    return now.cpu_ticks, now.rss_bytes * lived
