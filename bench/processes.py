"""The processes of a running fabric as the kernel sees them: who they are, what they use."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
ROLES = ("sidecar", "relay", "sink")


@dataclass(frozen=True, slots=True)
class Memory:
    """One process's memory, bytes."""

    rss: int
    """Resident, pages shared with other processes counted whole."""
    pss: int
    """Resident, each shared page counted by its share."""


def by_role(root: int) -> dict[str, list[int]]:
    """The descendants of process `root` that run a component, by the component's name, oldest first."""
    found: dict[str, list[int]] = {role: [] for role in ROLES}
    for pid in sorted(_descendants(root)):
        words = _command(pid)
        for role in ROLES:
            if any(_runs(word, role) for word in words[:4]):
                found[role].append(pid)
                break
    return found


def names(pid: int, part: str) -> bool:
    """Whether the command line of `pid` holds a path with this file or folder in it."""
    return any(part in (path.stem, *path.parts) for path in map(Path, _command(pid)))


def cpu_seconds(pid: int) -> float:
    """Processor time that all threads of `pid` have used."""
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory(pid: int) -> Memory:
    """What `pid` holds now (/proc/PID/smaps_rollup)."""
    values = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split()[:2]
        values[name] = int(value) * 1024
    return Memory(values["Rss:"], values["Pss:"])


def peak(pid: int) -> int:
    """The most bytes that `pid` was ever resident with since it was started; 0 where it has ended."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "VmHWM":
            return int(value.split()[0]) * 1024
    return 0


@contextmanager
def peaks(pids: list[int], every: float) -> Iterator[dict[int, Memory]]:
    """Sample the memory of `pids` every so many seconds during the block; the yielded dict holds the peaks after it."""
    found: dict[int, Memory] = {}
    over = threading.Event()

    def sample() -> None:
        while True:
            for pid in pids:
                now, most = memory(pid), found.get(pid, Memory(0, 0))
                found[pid] = Memory(max(now.rss, most.rss), max(now.pss, most.pss))
            if over.wait(every):
                return

    sampler = threading.Thread(target=sample, name="memory")
    sampler.start()
    try:
        yield found
    finally:
        over.set()
        sampler.join()


def _runs(word: str, role: str) -> bool:
    """Whether a word of a command line names a component: its module, a file in it, or its script."""
    return f"meterfabric_{role}" in word or word.endswith(f"meterfabric-{role}")


def _command(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def _descendants(root: int) -> Iterator[int]:
    try:
        children = [int(child) for child in Path(f"/proc/{root}/task/{root}/children").read_text().split()]
    except OSError:
        return
    for child in children:
        yield child
        yield from _descendants(child)
