"""How much processor this process may use: its cgroups' quota, version 1 or 2, else the machine's cores.

The limit is read again at each look, since Kubernetes may change that of a running pod (in-place resize).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

_SELF: Final = "proc/self"


class CpuLimit:
    """Finds the files that hold the quota once; `cores` reads them."""

    def __init__(self, root: Path = Path("/"), machine: float | None = None) -> None:
        """``root``: where `proc` and `sys` are; ``machine``: cores there are, those we may run on if None."""
        self._machine = machine or float(len(os.sched_getaffinity(0)))
        self._files = tuple(_files(root))

    def cores(self) -> float:
        """Cores that may be used, the least of the quotas of our cgroup and those above it."""
        limits = [limit for files in self._files if (limit := _quota([_text(each) for each in files])) is not None]
        return min([self._machine, *limits])


def _quota(texts: list[str]) -> float | None:
    """``texts``: [cpu.max], or [cpu.cfs_quota_us, cpu.cfs_period_us]; None where there is no limit."""
    words = " ".join(texts).split()
    if len(words) != 2 or not all(word.isascii() and word.isdigit() for word in words):
        return None  # `max`, -1, or a file that isn't there
    quota, period = map(int, words)
    return quota / period if quota and period else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _files(root: Path) -> Iterator[tuple[Path, ...]]:
    """The files of each cgroup from ours up to the mount's root, as far as we can see (cgroups(7), proc(5))."""
    ours: dict[str, str] = {}
    for line in _text(root / _SELF / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "" or "cpu" in controllers.split(","):
            ours["cgroup" if controllers else "cgroup2"] = path
    for line in _text(root / _SELF / "mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, (kind, _, options) = before.split(), after.split(" ", 2)
        if kind not in ours or (kind == "cgroup" and "cpu" not in options.split(",")):
            continue
        names = ("cpu.max",) if kind == "cgroup2" else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        top = root / fields[4].lstrip("/")
        for folder in _folders(PurePosixPath(ours[kind]), PurePosixPath(fields[3])):
            yield tuple(top / folder / name for name in names)


def _folders(path: PurePosixPath, mounted: PurePosixPath) -> list[PurePosixPath]:
    """The cgroup and those above it, relative to the mount. What lies outside of it can't be seen: a container's own
    cgroup is mounted as if it were the root."""
    if ".." in path.parts or not path.is_relative_to(mounted):
        return [PurePosixPath()]
    inside = path.relative_to(mounted)
    return [inside, *inside.parents]
