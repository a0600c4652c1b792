"""Faults of the network between pods and nodes, made by rules in the network of a pod or a node."""

import os
import random
import subprocess
from collections.abc import Callable, Sequence
from typing import Literal

from tests.cluster.plan import Machine
from tests.e2e import inside
from tests.e2e.ground import Ground
from tests.e2e.victims import Nobody, Victim

Choose = Callable[[Ground, random.Random], list[Victim]]
Others = Callable[[Ground], list[Victim]]


class OneWay:
    """Some pods don't hear others (`in`), or aren't heard by them (`out`). Rules in their own networks, both same-node
    and far traffic alike; they go with the pods. Who of the others comes later, under another address, isn't parted."""

    ways: tuple[Literal["in", "out"], ...]

    def __init__(self, whom: Choose, others: Others, way: Literal["in", "out"]) -> None:
        self._whom, self._others, self.ways = whom, others, (way,)
        self._held: list[tuple[int, list[str]]] = []

    def do(self, ground: Ground, chance: random.Random) -> str:
        """See faults.Fault."""
        hit, others = self._whom(ground, chance), self._others(ground)
        addresses = ",".join(sorted(each.address for each in others))
        if not addresses:
            raise Nobody("there is nobody to be parted from")
        for each in hit:
            network = _network(each.processes(ground)[0])
            for way in self.ways:
                rule = {"in": ["INPUT", "-s", addresses], "out": ["OUTPUT", "-d", addresses]}[way]
                _iptables(network, "--insert", *rule, "-j", "DROP")
                self._held.append((network, [*rule, "-j", "DROP"]))
        return f"{len(hit)} pods from {len(others)}: " + ", ".join(each.name for each in hit)

    def undo(self, ground: Ground) -> None:
        """See faults.Fault."""
        for network, rule in self._held:
            _iptables(network, "--delete", *rule)
        for network in {network for network, _ in self._held}:
            os.close(network)
        self._held = []


class Parted(OneWay):
    """The same in both directions."""

    def __init__(self, whom: Choose, others: Others) -> None:
        super().__init__(whom, others, "in")
        self.ways = ("in", "out")


class Slowed:
    """A node's leg is slow in both directions: late by netem where the kernel has it, else narrow by a token bucket."""

    LATE = ("netem", "delay", "150ms", "50ms")
    NARROW = ("tbf", "rate", "1mbit", "burst", "16kb", "latency", "2s")

    def __init__(self) -> None:
        self._done: list[tuple[Machine, str]] = []

    def do(self, ground: Ground, chance: random.Random) -> str:
        """See faults.Fault."""
        node = chance.choice(ground.nodes)
        control = ground.installed.kubernetes.plan.control
        for machine, device in ((node, "eth0"), (control, node.name)):
            how = self._slow(machine, device)
            self._done.append((machine, device))
        return f"{node.name}, by {how}"

    def _slow(self, machine: Machine, device: str) -> str:
        for how in (self.LATE, self.NARROW):
            try:
                inside.in_network(machine, ["tc", "qdisc", "replace", "dev", device, "root", *how])
            except subprocess.CalledProcessError as error:
                refused = error
            else:
                return " ".join(how)
        raise refused

    def undo(self, ground: Ground) -> None:
        """See faults.Fault."""
        for machine, device in self._done:
            inside.in_network(machine, ["tc", "qdisc", "delete", "dev", device, "root"])
        self._done = []


def _network(process: int) -> int:
    """A descriptor of its network, which keeps that. Raises Nobody."""
    try:
        return os.open(f"/proc/{process}/ns/net", os.O_RDONLY)
    except FileNotFoundError as error:
        raise Nobody(f"process {process} has ended") from error


def _iptables(network: int, *arguments: str) -> None:
    command: Sequence[str] = ("nsenter", f"--net=/proc/self/fd/{network}", "iptables", "--wait", *arguments)
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True, pass_fds=(network,))
