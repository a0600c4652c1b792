"""The network of a cluster: one namespace for each machine, joined by a bridge in the control plane's.

The machine that all this runs on keeps its own network as it is: no device and no rule is added to it.
"""

import subprocess
from pathlib import Path

from tests.cluster.plan import CONTROL_ADDRESS, PREFIX, Machine, Plan

NAMESPACES = Path("/run/netns")
BRIDGE = "nodes"


def make(plan: Plan) -> None:
    """Make the namespaces and what joins them. Raises CalledProcessError."""
    for machine in plan.machines:
        ip("netns", "add", machine.namespace)
        _inside(machine, "link", "set", "lo", "up")
    _inside(plan.control, "link", "add", BRIDGE, "type", "bridge")
    _inside(plan.control, "address", "add", f"{CONTROL_ADDRESS}/24", "dev", BRIDGE)
    _inside(plan.control, "link", "set", BRIDGE, "up")
    _inside(plan.control, "route", "add", "default", "dev", BRIDGE)
    _kernel(plan.control, {"net/ipv4/ip_forward": "1"})
    for node in plan.workers:
        _join(plan.control, node)


def cut(plan: Plan, node: Machine) -> None:
    """The node is lost: nothing comes from it or reaches it."""
    _inside(plan.control, "link", "set", node.name, "down")


def mend(plan: Plan, node: Machine) -> None:
    """The end of `cut`."""
    _inside(plan.control, "link", "set", node.name, "up")


def namespaces(cluster: str) -> list[str]:
    """The names of those that there are."""
    return sorted(path.name for path in NAMESPACES.glob(f"{PREFIX}_{cluster}_*"))


def clusters() -> set[str]:
    """The names of the clusters of which there is a namespace."""
    return {path.name.split("_")[1] for path in NAMESPACES.glob(f"{PREFIX}_*_*")}


def remove(namespace: str) -> None:
    """Remove a namespace and with it every device and rule in it."""
    ip("netns", "delete", namespace)


def ip(*arguments: str) -> None:
    """Run ip(8)."""
    subprocess.run(["ip", *arguments], check=True, stdin=subprocess.DEVNULL)


def _join(control: Machine, node: Machine) -> None:
    _inside(control, "link", "add", node.name, "type", "veth", "peer", "name", "eth0", "netns", node.namespace)
    _inside(control, "link", "set", node.name, "master", BRIDGE, "up")
    _inside(node, "address", "add", f"{node.address}/24", "dev", "eth0")
    _inside(node, "link", "set", "eth0", "up")
    _inside(node, "route", "add", "default", "via", CONTROL_ADDRESS)
    _inside(control, "route", "add", node.pods, "via", node.address)
    # Pods of one node that meet through a Service need the bridge's frames to pass the rules that kube-proxy writes.
    _kernel(node, {"net/ipv4/ip_forward": "1", "net/bridge/bridge-nf-call-iptables": "1"})


def _inside(machine: Machine, *arguments: str) -> None:
    ip("-netns", machine.namespace, *arguments)


def _kernel(machine: Machine, settings: dict[str, str]) -> None:
    for name, value in settings.items():
        command = f"test ! -e /proc/sys/{name} || echo {value} > /proc/sys/{name}"
        subprocess.run(["nsenter", f"--net={NAMESPACES / machine.namespace}", "sh", "-c", command], check=True)
