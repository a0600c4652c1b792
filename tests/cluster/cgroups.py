"""The cgroups of nodes: a kubelet wants the one that it is given to be there, in every hierarchy, before it starts."""

import os
from pathlib import Path

from tests.cluster.plan import PREFIX, Machine
from tests.cluster.wait import until

ROOT = Path("/sys/fs/cgroup")


def hierarchies() -> list[Path]:
    """Where cgroup v1's hierarchies are mounted, and v2 beside them, if it is; or only v2."""
    if (ROOT / "cgroup.controllers").exists():
        return [ROOT]
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [Path(fields[1]) for fields in mounts if fields[2] in {"cgroup", "cgroup2"}]


def make(machine: Machine) -> None:
    """Make the machine's cgroup, with the processors and memory of the whole machine."""
    for hierarchy in hierarchies():
        folder = hierarchy / machine.cgroup
        folder.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):
            if (folder / name).exists() and (hierarchy / name).exists():
                (folder / name).write_text((hierarchy / name).read_text())
        if hierarchy == ROOT:
            controllers = (ROOT / "cgroup.controllers").read_text().split()
            (ROOT / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))


def left(cluster: str) -> list[Path]:
    """The cgroups of a cluster's machines."""
    return sorted(path for hierarchy in hierarchies() for path in hierarchy.glob(f"{PREFIX}_{cluster}_*"))


def remove(cluster: str) -> None:
    """Remove them with all below, once the last process has left. Raises TimeoutError."""

    def gone() -> bool:
        for top in left(cluster):
            for folder, _, _ in os.walk(top, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError:
                    return False
        return True

    until(f"the cgroups of {cluster} are empty", 30, gone)
