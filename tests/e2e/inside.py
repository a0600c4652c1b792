"""Ways into a cluster from this machine: a thread in its network, the processes of a container."""

import ctypes
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tests.cluster import cgroups
from tests.cluster.network import NAMESPACES
from tests.cluster.plan import Machine

_NETWORK = 0x40000000


def enter_network(machine: Machine) -> None:
    """From now on the calling thread, it alone, opens its connections in that machine's network (setns(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    with (NAMESPACES / machine.namespace).open() as file:
        if libc.setns(file.fileno(), _NETWORK):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), machine.namespace)


def page(address: str, port: int, name: str, seconds: float = 2.0) -> dict[str, Any]:
    """What a page says, asked from within. Raises OSError, ValueError."""
    with urlopen(f"http://{address}:{port}/{name}", timeout=seconds) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def in_network(machine: Machine, command: Sequence[str]) -> str:
    """What a program printed that ran in the machine's network. Raises CalledProcessError, whose `stderr` says why."""
    argv = ["nsenter", f"--net={NAMESPACES / machine.namespace}", *command]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout


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
