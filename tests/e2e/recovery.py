"""How soon logs that were on a relay deliver again after its death.

Measured from the outside, by this machine's clock: how long after the death PostgreSQL committed what the log's client
had been told was accepted. Two records of each log count, and the slower of them: the first that was waiting at the
death, which may have been past the relay already, and the first that was accepted after, which wasn't. The receipt
follows a commit by a way through the network.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from meterfabric_operator.names import SIDECAR_PAGES
from tests.e2e import inside
from tests.e2e.ground import BILLING, Ground
from tests.e2e.producers import addresses, pod_of


@dataclass(frozen=True)
class Death:
    """`at`: of this machine's clock. `pods`: those whose logs were on it."""

    at: float
    relay: str
    pods: frozenset[str]


def on_relay(ground: Ground, address: str) -> frozenset[str]:
    """The pods whose sidecars say that they deliver to PostgreSQL through the relay with this address."""
    control = ground.installed.kubernetes.plan.control
    found = addresses(ground)
    with ThreadPoolExecutor(4, initializer=inside.enter_network, initargs=(control,)) as threads:
        told = zip(found, threads.map(_via, found.values()), strict=True)
        return frozenset(pod for pod, relays in told if address in relays)


def _via(address: str) -> set[str]:
    try:
        said = inside.page(address, SIDECAR_PAGES, "status")
    except (OSError, ValueError):
        return set()
    ways = (log["sinks"].get(BILLING, {}).get("relay") for log in said["logs"] if log["active"])
    return {way for way in ways if way}


def times(deaths: Iterable[Death], accepted: Mapping[str, float], committed: Mapping[str, float]) -> list[float]:
    """Seconds, one a death and log that was on it, the shortest first. The mappings: names of records to times."""
    by: dict[str, list[str]] = defaultdict(list)
    for record in sorted(accepted, key=accepted.__getitem__):
        by[pod_of(record)].append(record)
    found = []
    for death in deaths:
        for pod in death.pods:
            later = [each for each in by[pod] if committed.get(each, 0.0) > death.at]
            first = [*later[:1], *[each for each in later if accepted[each] > death.at][:1]]
            if first:
                found.append(max(max(0.0, committed[each] - max(death.at, accepted[each])) for each in first))
    return sorted(found)
