"""Pods that were made without their sidecar, replaced: evicted, so that what owns them makes them anew.

Only where the fabric asks for it, only pods that somebody will make again, only after a trial in the pod's own
namespace showed, at that moment, that the new one gets a sidecar, and at a limited rate. Eviction (policy/v1) keeps to
PodDisruptionBudgets.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final

from meterfabric_operator.api.cluster import ApiError, Cluster
from meterfabric_operator.api.events import Events
from meterfabric_operator.objects import Object
from meterfabric_operator.sidecars.injection import Injection
from meterfabric_operator.watching.observed import MeteringPod

log = logging.getLogger(__name__)

_BLOCKED: Final = 60.0
"""After a budget forbade an eviction, that pod is left alone for so long."""
_IN_VAIN: Final = 3600.0
"""Pods whose owner makes them without a sidecar once more, although admission acts, are left alone for so long."""


class Bucket:
    """One token, refilled at a rate."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock``: monotonic seconds."""
        self._clock = clock
        self._taken: float | None = None

    def wait(self, per_minute: int) -> float:
        """Seconds until there is a token."""
        return 0.0 if self._taken is None else max(self._taken + 60.0 / per_minute - self._clock(), 0.0)

    def take(self) -> None:
        """Take the token."""
        self._taken = self._clock()


class _OfFabric:
    def __init__(self, clock: Callable[[], float]) -> None:
        self.bucket = Bucket(clock)
        self.blocked: dict[str, float] = {}
        """Pods that may not be evicted, by UID, and until when."""
        self.replaced: dict[str, tuple[str, float]] = {}
        """Owners whose pods were evicted, by UID: the server's time of the first eviction, and until when it counts."""
        self.evicted = 0


class Replacer:
    """Replaces pods, of each fabric one at a time."""

    def __init__(self, cluster: Cluster, injection: Injection, events: Events, clock: Callable[[], float]) -> None:
        """``clock``: monotonic seconds."""
        self._cluster = cluster
        self._injection = injection
        self._events = events
        self._clock = clock
        self._of: dict[str, _OfFabric] = {}

    def evicted(self, fabric: str) -> int:
        """Pods evicted since the start."""
        return self._of[fabric].evicted if fabric in self._of else 0

    def unproven(self, fabric: str) -> None:
        """Injection doesn't act: what is made without a sidecar from now on was not made so in vain."""
        if fabric in self._of:
            self._of[fabric].replaced.clear()

    async def replace(self, fabric: str, per_minute: int, pods: Iterable[MeteringPod]) -> float | None:
        """Evict one of these pods if one may be; seconds until it is worth another look, None where there is no more.

        Raises as Cluster does, but for an eviction that is refused.
        """
        of, now = self._of.setdefault(fabric, _OfFabric(self._clock)), self._clock()
        of.blocked = {uid: until for uid, until in of.blocked.items() if until > now}
        of.replaced = {uid: (at, until) for uid, (at, until) in of.replaced.items() if until > now}
        found = [pod for pod in pods if _may_be(pod, of)]
        if not found:
            return None
        if wait := of.bucket.wait(per_minute):
            return wait
        pod = next((each for each in found if each.uid not in of.blocked), None)
        if pod is None:
            return _BLOCKED
        proof = await self._injection.trial(pod.namespace)
        if proof.verdict != "Proven":
            self.unproven(fabric)
            return None
        of.bucket.take()
        await self._evict(of, pod, proof.at)
        return of.bucket.wait(per_minute)

    async def _evict(self, of: _OfFabric, pod: MeteringPod, at: str) -> None:
        body: Object = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod.name, "namespace": pod.namespace},
            "deleteOptions": {"preconditions": {"uid": pod.uid}},
        }
        try:
            await self._cluster.evict(body)
        except ApiError as error:
            log.info("a pod can't be replaced now", extra={"pod": f"{pod.namespace}/{pod.name}", "reason": str(error)})
            of.blocked[pod.uid] = self._clock() + _BLOCKED
            return
        of.evicted += 1
        of.blocked[pod.uid] = self._clock() + _IN_VAIN
        of.replaced.setdefault(pod.owner, (at, self._clock() + _IN_VAIN))
        about = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
        }
        note = "evicted, so that it is made anew with the sidecar that it asks for (spec.injection.replace is Evict)"
        await self._events.tell(about, "Normal", "ReplacedForSidecar", note)


def _may_be(pod: MeteringPod, of: _OfFabric) -> bool:
    """Not again what was made without a sidecar after others of its owner had been replaced."""
    before = of.replaced.get(pod.owner)
    return bool(pod.why) and pod.replaceable and (before is None or pod.created < before[0])
