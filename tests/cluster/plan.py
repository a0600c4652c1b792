"""What a cluster will be, before anything of it exists: its machines, their names, addresses and folders.

A machine is a set of namespaces of this one: `control` runs etcd, the API server and what belongs to them; `node-1` and
its like each run a kubelet. They meet at a bridge in the control machine's network namespace.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import paths, versions

PREFIX = "mf"
CONTROL_ADDRESS = "10.250.0.1"
SERVICES = "10.96.0.0/16"
FIRST_SERVICE = "10.96.0.1"
PODS = "10.244.0.0/16"
API_PORT = 6443
MAX_NODES = 99

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,28}[a-z0-9])?")


class BadPlan(Exception):
    """A cluster that can't be asked for; the message says why."""


@dataclass(frozen=True)
class Machine:
    """`namespace`: of the network, by its name in /run/netns. `folder`: on this machine's disk. `pods`: its subnet."""

    name: str
    namespace: str
    address: str
    folder: Path
    pods: str = ""

    @property
    def cgroup(self) -> str:
        """The cgroup that holds the node's pods, below the root of each hierarchy."""
        return self.namespace


@dataclass(frozen=True)
class Plan:
    """A cluster called `name` of `nodes` nodes with Kubernetes `version`, in `folder`."""

    name: str
    version: str
    nodes: int
    folder: Path

    @property
    def control(self) -> Machine:
        """The machine of the control plane."""
        return Machine("control", namespace(self.name, "control"), CONTROL_ADDRESS, self.folder / "control")

    @property
    def workers(self) -> list[Machine]:
        """The machines that run pods."""
        return [
            Machine(
                name=f"node-{number}",
                namespace=namespace(self.name, f"node-{number}"),
                address=f"10.250.0.{100 + number}",
                folder=self.folder / f"node-{number}",
                pods=f"10.244.{number}.0/24",
            )
            for number in range(1, self.nodes + 1)
        ]

    @property
    def machines(self) -> list[Machine]:
        """All, the control plane's first."""
        return [self.control, *self.workers]

    @property
    def keys(self) -> Path:
        """The folder of keys, certificates and of the kubeconfigs that hold some."""
        return self.folder / "keys"

    @property
    def kubeconfig(self) -> Path:
        """For people and tests: works on this machine, as the cluster's administrator."""
        return self.folder / "kubeconfig"


def make_plan(name: str, version: str = versions.DEFAULT, nodes: int = 1) -> Plan:
    """Raises BadPlan."""
    if not _NAME.fullmatch(name):
        raise BadPlan(f"{name!r} can't name a cluster: at most 30 of a-z, 0-9 and -")
    if not 1 <= nodes <= MAX_NODES:
        raise BadPlan(f"{nodes} nodes: from 1 to {MAX_NODES} are possible")
    folder = paths.clusters() / name
    if any(folder.is_relative_to(hidden) for hidden in ("/run", "/var/lib", "/var/log", "/proc", "/sys")):
        raise BadPlan(f"a node hides {folder} behind folders of its own: set XDG_CACHE_HOME to another place")
    return Plan(name, version, nodes, folder)


def namespace(cluster: str, machine: str) -> str:
    """The name of a machine's network namespace; no cluster's names begin with another's."""
    return f"{PREFIX}_{cluster}_{machine}"
