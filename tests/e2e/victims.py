"""Who can be hit: the containers of the product's parts and of PostgreSQL, found as they are now."""

import os
import random
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import containers
from tests.e2e.ground import Ground
from tests.e2e.producers import NAME as PRODUCER
from tests.kubernetes.installed import METERING, SHOP, SYSTEM
from tests.kubernetes.standing import OPERATOR, OURS, holder

SIDECAR = "meterfabric"


class Nobody(Exception):
    """There is none to be hit right now."""


@dataclass(frozen=True)
class Victim:
    """A container that runs. `pod`: the object."""

    pod: dict[str, Any]
    container: str
    node: str

    @property
    def name(self) -> str:
        """The pod's."""
        return str(self.pod["metadata"]["name"])

    @property
    def address(self) -> str:
        """The pod's."""
        return str(self.pod["status"]["podIP"])

    def processes(self, ground: Ground) -> list[int]:
        """Its processes, on this machine. Raises Nobody."""
        found = containers.processes(ground.node(self.node), self.pod, self.container)
        if not found:
            raise Nobody(f"{self.container} of {self.name} doesn't run")
        return found

    def signal(self, ground: Ground, number: signal.Signals) -> list[int]:
        """Signal all of its processes. Raises Nobody."""
        found = self.processes(ground)
        for each in found:
            send(each, number)
        return found


def send(process: int, number: signal.Signals) -> None:
    """Signal a process, unless it has ended."""
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return


def begun(process: int) -> str:
    """When a process began, in the kernel's ticks; nothing where it ended. Its id alone may be another's by now."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def relays(ground: Ground) -> list[Victim]:
    """Those that run."""
    return _containers(ground, METERING, f"app.kubernetes.io/component=relay,{OURS}", "relay")


def sinks(ground: Ground) -> list[Victim]:
    """Workers of both sinks."""
    return _containers(ground, METERING, f"app.kubernetes.io/component=sink,{OURS}", "sink")


def sidecars(ground: Ground) -> list[Victim]:
    """Of all producers."""
    return _containers(ground, SHOP, f"app={PRODUCER}", SIDECAR)


def operators(ground: Ground) -> list[Victim]:
    """Both replicas."""
    return _containers(ground, SYSTEM, OPERATOR, "operator")


def acting_operator(ground: Ground) -> Victim:
    """The replica that holds the lease. Raises Nobody."""
    acts = holder(ground.installed)
    return pick([each for each in operators(ground) if each.name in acts], random.Random(0))


def database(ground: Ground) -> Victim:
    """PostgreSQL. Raises Nobody."""
    return pick(_containers(ground, METERING, "app=database", "postgres"), random.Random(0))


def pick(found: list[Victim], chance: random.Random) -> Victim:
    """One of them. Raises Nobody."""
    return some(found, 1, chance)[0]


def some(found: list[Victim], count: int, chance: random.Random) -> list[Victim]:
    """So many of them, or all. Raises Nobody where there are none."""
    if not found:
        raise Nobody("none of them runs")
    ordered = sorted(found, key=lambda each: each.name)
    return chance.sample(ordered, min(count, len(ordered)))


def _containers(ground: Ground, where: str, selector: str, container: str) -> list[Victim]:
    return [
        Victim(pod, container, pod["spec"]["nodeName"])
        for pod in ground.pods(where, selector)
        if pod["status"].get("podIP") and _runs(pod, container)
    ]


def _runs(pod: dict[str, Any], container: str) -> bool:
    status = pod["status"]
    each = (*status.get("containerStatuses", []), *status.get("initContainerStatuses", []))
    return any(one["name"] == container and "running" in one.get("state", {}) for one in each)
