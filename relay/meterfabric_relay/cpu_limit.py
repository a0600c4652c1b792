"""How much processor this process may use: its cgroups' quota, version 1 or 2, else the machine's cores.

The limit is read again at each look, since Kubernetes may change that of a running pod (in-place resize).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from meterfabric_relay import cgroup

_ONE: Final = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
_TWO: Final = ("cpu.max",)


class CpuLimit:
    """Finds the files that hold the quota once; `cores` reads them."""

    def __init__(self, root: Path = Path("/"), machine: float | None = None) -> None:
        """``root``: where `proc` and `sys` are; ``machine``: cores there are, those we may run on if None."""
        self._machine = machine or float(len(os.sched_getaffinity(0)))
        self._files = tuple(cgroup.files(root, "cpu", _ONE, _TWO))

    def cores(self) -> float:
        """Cores that may be used, the least of the quotas of our cgroup and those above it."""
        limits = [
            limit for files in self._files if (limit := _quota([cgroup.text(each) for each in files])) is not None
        ]
        return min([self._machine, *limits])


def _quota(texts: list[str]) -> float | None:
    """``texts``: [cpu.max], or [cpu.cfs_quota_us, cpu.cfs_period_us]; None where there is no limit."""
    words = " ".join(texts).split()
    if len(words) != 2 or not all(word.isascii() and word.isdigit() for word in words):
        return None  # `max`, -1, or a file that isn't there
    quota, period = map(int, words)
    return quota / period if quota and period else None
