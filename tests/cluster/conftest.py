"""The cluster that the tests of this folder share."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import cgroups, cluster, network, register
from tests.cluster.cluster import Cluster
from tests.cluster.plan import Plan
from tests.cluster.pods import VERSION
from tests.cluster.wait import until

NODES = 3
SETTINGS = ("/proc/sys/vm/overcommit_memory", "/proc/sys/kernel/panic", "/proc/sys/kernel/panic_on_oops")
FOLDERS = ("/var/lib/kubelet", "/var/lib/cni", "/run/containerd")


@pytest.fixture(scope="session")
def kubernetes() -> Iterator[Cluster]:
    """One of three nodes; afterwards this machine is as it was."""
    before = state_of_this_machine()
    with cluster.temporary("test", VERSION, NODES, print) as made:
        namespaces = {(network.NAMESPACES / each.namespace).stat().st_ino for each in made.plan.machines}
        yield made
    assert not processes_in(namespaces)
    assert_nothing_is_left(made.plan)
    until("this machine is as it was", 30, lambda: state_of_this_machine() == before)


def assert_nothing_is_left(plan: Plan) -> None:
    """Of a cluster, on this machine."""
    assert register.read(plan.name) is None
    assert not plan.folder.exists()
    assert not network.namespaces(plan.name)
    assert not cgroups.left(plan.name)
    mounts = Path("/proc/self/mounts").read_text()
    assert not [line for line in mounts.splitlines() if str(plan.folder) in line]


def state_of_this_machine() -> dict[str, Any]:
    """What is no cluster's own, and so is to stay as it is."""
    return {
        "devices": sorted(os.listdir("/sys/class/net")),
        "settings": [Path(name).read_text() for name in SETTINGS],
        "folders": [Path(name).exists() for name in FOLDERS],
    }


def processes_in(namespaces: set[int]) -> list[int]:
    """The processes in network namespaces, which may have no name any more."""
    return [int(entry) for entry in os.listdir("/proc") if entry.isdecimal() and _namespace(entry) in namespaces]


def _namespace(process: str) -> int | None:
    try:
        return os.stat(f"/proc/{process}/ns/net").st_ino
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
