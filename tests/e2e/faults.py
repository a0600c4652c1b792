"""What goes wrong: a class a fault, which does and undoes it. To undo twice is no error, nor to undo nothing."""

import random
import signal
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from tests.cluster import network
from tests.e2e import victims
from tests.e2e.ground import Ground
from tests.e2e.links import OneWay, Parted, Slowed
from tests.e2e.recovery import Death, on_relay
from tests.e2e.rolling import Rolled
from tests.e2e.schedule import Kind
from tests.e2e.stores import Filled, Stopped
from tests.e2e.victims import Victim, begun, send


class Fault(Protocol):
    """One, which happens once."""

    def do(self, ground: Ground, chance: random.Random) -> str:
        """Do it, and say to whom. Raises Nobody where there is nobody to hit."""
        ...

    def undo(self, ground: Ground) -> None:
        """Everything is as before."""
        ...


class Killed:
    """kill -9, of all processes of a container; its pod stays, and so do the pod's disks."""

    def __init__(self, whom: Callable[[Ground, random.Random], list[Victim]]) -> None:
        self._whom = whom

    def do(self, ground: Ground, chance: random.Random) -> str:
        """See Fault."""
        hit = self._whom(ground, chance)
        for each in hit:
            each.signal(ground, signal.SIGKILL)
        return ", ".join(each.name for each in hit)

    def undo(self, ground: Ground) -> None:
        """The kubelet does."""


class RelayKilled:
    """The same of a relay; who was on it is noted, so that their recovery can be told."""

    def __init__(self) -> None:
        self.death: Death | None = None

    def do(self, ground: Ground, chance: random.Random) -> str:
        """See Fault."""
        hit = victims.pick(victims.relays(ground), chance)
        pods = on_relay(ground, hit.address)
        hit.signal(ground, signal.SIGKILL)
        self.death = Death(time.time(), hit.name, pods)
        return f"{hit.name}, with the logs of {len(pods)} pods on it"

    def undo(self, ground: Ground) -> None:
        """The kubelet does."""


class Frozen:
    """SIGSTOP, and SIGCONT later unless the kubelet lost its patience in between."""

    def __init__(self) -> None:
        self._held: dict[int, str] = {}

    def do(self, ground: Ground, chance: random.Random) -> str:
        """See Fault."""
        kinds = (
            lambda: victims.pick(victims.relays(ground), chance),
            lambda: victims.pick(victims.sinks(ground), chance),
            lambda: victims.pick(victims.sidecars(ground), chance),
            lambda: victims.acting_operator(ground),
            lambda: victims.database(ground),
        )
        hit = chance.choice(kinds)()
        self._held = {each: begun(each) for each in hit.processes(ground)}
        for each in self._held:
            send(each, signal.SIGSTOP)
        return f"{hit.container} of {hit.name}"

    def undo(self, ground: Ground) -> None:
        """See Fault."""
        for each, since in self._held.items():
            if since and begun(each) == since:
                send(each, signal.SIGCONT)


class Drained:
    """Cordon a node and evict its pods. Not the one that holds the disks of sinks: nothing there could go elsewhere."""

    def __init__(self) -> None:
        self._node = ""

    def do(self, ground: Ground, chance: random.Random) -> str:
        """See Fault."""
        self._node = chance.choice([each.name for each in ground.nodes if each != ground.keeper])
        options = ("--ignore-daemonsets", "--delete-emptydir-data", "--timeout=180s")
        ground.installed.kubectl("drain", self._node, *options)
        return self._node

    def undo(self, ground: Ground) -> None:
        """See Fault."""
        if self._node:
            ground.installed.kubectl("uncordon", self._node)


class CutOff:
    """A node's leg is down: nothing comes from it or reaches it, the API server included."""

    def __init__(self) -> None:
        self._node = ""

    def do(self, ground: Ground, chance: random.Random) -> str:
        """See Fault."""
        self._node = chance.choice(ground.nodes).name
        network.cut(ground.installed.kubernetes.plan, ground.node(self._node))
        return self._node

    def undo(self, ground: Ground) -> None:
        """See Fault."""
        if self._node:
            network.mend(ground.installed.kubernetes.plan, ground.node(self._node))


def _third_of_sidecars(ground: Ground, chance: random.Random) -> list[Victim]:
    found = victims.sidecars(ground)
    return victims.some(found, max(1, len(found) // 3), chance)


def _one_relay(ground: Ground, chance: random.Random) -> list[Victim]:
    return [victims.pick(victims.relays(ground), chance)]


KINDS: Mapping[str, tuple[Kind, Callable[[], Fault]]] = {
    "kill a relay": (Kind(often=3, alone=True), RelayKilled),
    "kill a sink": (Kind(), lambda: Killed(lambda ground, chance: [victims.pick(victims.sinks(ground), chance)])),
    "kill sidecars": (Kind(), lambda: Killed(lambda ground, chance: victims.some(victims.sidecars(ground), 3, chance))),
    "kill the operator": (Kind(), lambda: Killed(lambda ground, _: [victims.acting_operator(ground)])),
    "restart PostgreSQL": (Kind(), lambda: Killed(lambda ground, _: [victims.database(ground)])),
    "stop PostgreSQL": (Kind((10, 40)), Stopped),
    "fill PostgreSQL's disk": (Kind((10, 30)), Filled),
    "drain a node": (Kind((30, 60), alone=True), Drained),
    "cut off a node": (Kind((10, 45)), CutOff),
    "part sidecars from relays": (Kind((10, 40)), lambda: Parted(_third_of_sidecars, victims.relays)),
    "sidecars hear no relay": (Kind((10, 40)), lambda: OneWay(_third_of_sidecars, victims.relays, "in")),
    "relays hear no sidecar": (Kind((10, 40)), lambda: OneWay(_third_of_sidecars, victims.relays, "out")),
    "part a relay from sinks": (Kind((10, 40)), lambda: Parted(_one_relay, victims.sinks)),
    "a relay hears no sink": (Kind((10, 40)), lambda: OneWay(_one_relay, victims.sinks, "in")),
    "sinks hear no relay": (Kind((10, 40)), lambda: OneWay(_one_relay, victims.sinks, "out")),
    "slow a link": (Kind((15, 45)), Slowed),
    "roll the chart": (Kind(), Rolled),
    "freeze a process": (Kind((10, 60)), Frozen),
}
