"""Containers of pods as this machine sees them: processes in cgroups."""

import os
from pathlib import Path
from typing import Any

from tests.cluster import cgroups
from tests.cluster.plan import Machine


def processes(node: Machine, pod: dict[str, Any], container: str) -> list[int]:
    """The processes of a pod's container, by the ids that they have on this machine, the first of them first."""
    wanted = _id(pod, container)
    hierarchy = next(each for each in cgroups.hierarchies() if (each / node.cgroup).is_dir())
    found = [folder for folder in _below(hierarchy / node.cgroup) if folder.name == wanted]
    return sorted(int(line) for folder in found for line in (folder / "cgroup.procs").read_text().split())


def _id(pod: dict[str, Any], container: str) -> str:
    status = pod["status"]
    for each in (*status.get("containerStatuses", []), *status.get("initContainerStatuses", [])):
        if each["name"] == container:
            return str(each.get("containerID", "")).rpartition("/")[2]
    return ""


def _below(folder: Path) -> list[Path]:
    return [Path(where) for where, _, _ in os.walk(folder)]
