"""Equal shares of the processor: a cgroup with a quota for each process that is measured, version 1 or 2.

Several relays on two cores would take from each other what they need; with a quota that all of them fit under, each has
as much as it would have alone. Quotas are Kubernetes' own way to limit a container, so a relay reads them as it does
there (`meterfabric_relay.cpu_limit`).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PREFIX = "meterfabric-bench-"
_PERIOD = 20_000
"""Microseconds. Kubernetes' 100,000 would have each relay stand still for long."""
_PATIENCE = 10.0


class NoShares(Exception):
    """Quotas can't be given here; the message says what is missing."""


@dataclass(frozen=True)
class Hierarchy:
    """Where cgroups with quotas are made, and which version's files they have."""

    folder: Path
    version: int

    def limit(self, cgroup: Path, cores: float) -> None:
        """Write the quota: so many cores."""
        quota = max(1000, round(cores * _PERIOD))
        if self.version == 2:
            (cgroup / "cpu.max").write_text(f"{quota} {_PERIOD}")
        else:
            (cgroup / "cpu.cfs_period_us").write_text(str(_PERIOD))
            (cgroup / "cpu.cfs_quota_us").write_text(str(quota))


def hierarchy(root: Path = Path("/")) -> Hierarchy:
    """The hierarchy that has the processor's controller (cgroups(7)). Raises NoShares."""
    for line in (root / "proc/self/mounts").read_text().splitlines():
        _, mounted, kind, options = line.split()[:4]
        folder = root / mounted.lstrip("/")
        if kind == "cgroup" and "cpu" in options.split(","):
            return Hierarchy(folder, 1)
        if kind == "cgroup2" and "cpu" in _words(folder / "cgroup.controllers"):
            if "cpu" not in _words(folder / "cgroup.subtree_control"):
                _delegate(folder)
            return Hierarchy(folder, 2)
    raise NoShares("no cgroup hierarchy with the cpu controller is mounted, so processes can't be given equal shares")


def _words(path: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return path.read_text().split()
    return []


def _delegate(folder: Path) -> None:
    try:
        (folder / "cgroup.subtree_control").write_text("+cpu")
    except OSError as error:
        raise NoShares(f"{folder}: the cpu controller can't be handed down ({error.strerror}): run as root") from error


class Share:
    """One cgroup with a quota."""

    def __init__(self, at: Hierarchy, cgroup: Path, cores: float) -> None:
        self.cgroup = cgroup
        at.limit(cgroup, cores)

    def take(self, pid: int) -> None:
        """Move a process with all its threads here."""
        (self.cgroup / "cgroup.procs").write_text(str(pid))


@contextlib.contextmanager
def shares(count: int, cores: float, root: Path = Path("/")) -> Iterator[list[Share]]:
    """Make `count` cgroups of `cores` each, removed at the end; their processes must have ended by then.

    What an earlier run that was killed left behind goes as well. Raises NoShares.
    """
    at = hierarchy(root)
    for left in at.folder.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # a run that still goes on
            left.rmdir()
    made: list[Path] = []
    try:
        try:
            for number in range(count):
                made.append(at.folder / f"{_PREFIX}{os.getpid()}-{number}")
                made[-1].mkdir()
            yield [Share(at, cgroup, cores) for cgroup in made]
        except PermissionError as error:
            raise NoShares(f"{error.filename}: {error.strerror}: quotas are root's to give") from error
    finally:
        for cgroup in made:
            _remove(cgroup)


def _remove(cgroup: Path) -> None:
    """The kernel takes a moment to see that the last process has left."""
    deadline = time.monotonic() + _PATIENCE
    while cgroup.exists():
        try:
            cgroup.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
