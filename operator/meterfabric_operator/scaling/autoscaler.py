"""The built-in autoscaler: asks relays, decides, and writes `spec.relay.replicas` as anybody else would, through the
fabric's scale subresource. The Deployment follows by the ordinary way.

What it remembers is this process's alone. Whoever takes over begins with the number there is, and so waits a whole
window before it takes any relay away, as kube-controller-manager does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

import aiohttp

from meterfabric_operator.api.cluster import ApiError, Cluster
from meterfabric_operator.api.events import Events
from meterfabric_operator.api.fence import NotActing
from meterfabric_operator.api.lease import UNREACHABLE
from meterfabric_operator.objects import FABRIC, Key, Object, to_time
from meterfabric_operator.scaling.asking import CALL, ask
from meterfabric_operator.scaling.deciding import Decision, decide
from meterfabric_operator.scaling.limiting import History
from meterfabric_operator.scaling.outcome import Outcome
from meterfabric_operator.specs import read_fabric
from meterfabric_operator.status.conditions import Condition
from meterfabric_operator.watching.observed import Observed
from meterfabric_protocol.fabric import FabricError, MeteringFabric
from meterfabric_protocol.fabric_spec import Autoscaling

log = logging.getLogger(__name__)

EVERY: Final = 15.0
"""As kube-controller-manager's horizontal-pod-autoscaler-sync-period by default."""
MANAGER: Final = "meterfabric-autoscaler"
"""Field manager of `spec.relay.replicas`, so that it belongs to nobody's manifest."""
_AT_A_TIME: Final = 16


class Autoscaler:
    """Scales the fabrics that ask for it."""

    def __init__(
        self,
        cluster: Cluster,
        observed: Observed,
        events: Events,
        now: Callable[[], datetime],
        look: Callable[[Key], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``look(key)``: the outcome for this fabric is new. ``clock``: seconds that never step back."""
        self._cluster = cluster
        self._observed = observed
        self._events = events
        self._now = now
        self._look = look
        self._clock = clock
        self._gate = asyncio.Semaphore(_AT_A_TIME)
        self._histories: dict[Key, History] = {}

    async def run(self, may: asyncio.Event) -> None:
        """Scale for ever while `may` is set; cancel to end."""
        async with aiohttp.ClientSession(timeout=CALL, trust_env=False) as session:
            while True:
                if not may.is_set():
                    self._histories.clear()
                    await may.wait()
                begun = self._clock()
                await self.look(session)
                await asyncio.sleep(max(EVERY - (self._clock() - begun), 1.0))

    async def look(self, session: aiohttp.ClientSession) -> None:
        """Look at every fabric once."""
        asked = {key: (body, spec) for key, body in self._observed.fabrics.items() if (spec := _asked(body))}
        for known in (self._histories, self._observed.scaling):
            for key in known.keys() - asked.keys():
                del known[key]
        await asyncio.gather(*(self._scale(session, key, *each) for key, each in asked.items()))

    async def _scale(self, session: aiohttp.ClientSession, key: Key, body: Object, fabric: MeteringFabric) -> None:
        scaling = fabric.spec.relay.autoscaling
        assert scaling is not None
        current = fabric.spec.relay.count
        try:
            async with self._gate:
                selector = f"app.kubernetes.io/component=relay,{FABRIC}={fabric.id}"
                pods = await self._cluster.list("Pod", selector, key.namespace)
            relays = await ask(session, self._gate, pods, self._now())
        except UNREACHABLE as error:
            log.info("relays can't be looked at", extra={"fabric": str(key), "reason": str(error)})
            return
        made = decide(scaling, current, relays, self._histories.get(key, History()), self._clock())
        self._histories[key] = made.history
        able: tuple[Condition, ...] = ()
        scaled = ""
        if made.replicas != current:
            try:
                able, scaled = await self._write(key, body, current, made, scaling)
            except NotActing as error:
                # Another replica acts; what is remembered here is of no use any more.
                log.info("not scaled", extra={"fabric": str(key), "reason": str(error)})
                self._histories.pop(key, None)
                return
        self._tell(key, current, made, able, scaled)

    async def _write(
        self, key: Key, body: Object, current: int, made: Decision, scaling: Autoscaling
    ) -> tuple[tuple[Condition, ...], str]:
        """Write the number; the condition that says whether that went well, and when it did."""
        size = f"New size: {made.replicas}; reason: {made.why}"
        try:
            await self._put(key, body, current, made.replicas)
        except UNREACHABLE as error:
            await self._events.tell(body, "Warning", "FailedRescale", f"{size}; error: {error}")
            message = f"the number of relays can't be written: {error}"
            return (Condition("AbleToScale", "False", "FailedUpdateScale", message),), ""
        self._histories[key] = made.history.scaled(current, made.replicas, self._clock(), scaling.behavior)
        log.info("relays scaled", extra={"fabric": str(key), "from": current, "to": made.replicas, "reason": made.why})
        await self._events.tell(body, "Normal", "SuccessfulRescale", size)
        message = f"the number of relays was written: {made.replicas}"
        when = to_time(self._now())
        return (Condition("AbleToScale", "True", "SucceededRescale", message),), when

    async def _put(self, key: Key, body: Object, current: int, replicas: int) -> None:
        """Write the number, unless somebody wrote one since it was decided."""
        version = body["metadata"]["resourceVersion"]
        for again in (True, False):
            change = {"metadata": {"resourceVersion": version}, "spec": {"replicas": replicas}}
            try:
                await self._cluster.patch(key, change, "scale", manager=MANAGER)
                return
            except ApiError as error:
                if error.status != 409 or not again:
                    raise
                # Statuses change the version too. What was decided stands as long as the number does.
                live = await self._cluster.get(key)
                if live is None or (live["spec"].get("relay") or {}).get("replicas") != current:
                    raise
                version = live["metadata"]["resourceVersion"]

    def _tell(self, key: Key, current: int, made: Decision, able: tuple[Condition, ...], scaled: str) -> None:
        before = self._observed.scaling.get(key)
        held = {each.type: each for each in before.conditions} if before else {}
        found = held | {each.type: each for each in (*made.conditions, *able)}
        last = scaled or (before.scaled if before else "")
        failed = any(each.status == "False" for each in able)
        desired = current if failed else made.replicas
        after = Outcome(current, desired, made.utilization, tuple(found[kind] for kind in sorted(found)), last)
        self._observed.scaling[key] = after
        if before is None or before.essence != after.essence:
            self._look(key)


def _asked(body: Object) -> MeteringFabric | None:
    """The fabric, where it is to be scaled; one without a number gets the one there is first."""
    try:
        fabric = read_fabric(body)
    except FabricError:
        return None
    ending = body["metadata"].get("deletionTimestamp")
    relay = fabric.spec.relay
    wanted = relay.autoscaling is not None and relay.replicas is not None and fabric.spec.reconcile == "Active"
    return fabric if wanted and not ending else None
