"""Which of several replicas acts: a Lease (coordination.k8s.io/v1) that one holds and renews.

The holder counts from when it last *asked* for a renewal that succeeded, by its own monotonic clock, and stops acting
well before another may take over, whether it can reach the API server or not, and whether it ran meanwhile or stood
still: each write is held against `holds`, see `fence`. Others count from when they last saw the
Lease change, so clocks need not agree.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import aiohttp

from meterfabric_operator.api.cluster import ApiError, Cluster
from meterfabric_operator.objects import Key, Object, to_micro_time
from meterfabric_operator.settings import LeasePart

log = logging.getLogger(__name__)

UNREACHABLE: Final = (ApiError, OSError, aiohttp.ClientError, TimeoutError)


class Lease:
    """`held` is set while this replica acts."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        identity: str,
        part: LeasePart,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._key = Key("Lease", namespace, part.name)
        self._identity = identity
        self._part = part
        self._clock = clock
        self._seen: tuple[object, float] | None = None
        self._until = 0.0
        self._heard = clock()
        self.held = asyncio.Event()

    def holds(self) -> bool:
        """Whether this replica may act at this very moment, also where nobody had time to clear `held`."""
        return self.held.is_set() and self._clock() < self._until

    def silence(self) -> float:
        """Seconds since the API server last answered, to whoever holds the lease and to whoever waits for it."""
        return self._clock() - self._heard

    async def run(self) -> None:
        """Acquire and renew for ever; cancel to end, and it is given back."""
        try:
            while True:
                await self.look()
                await asyncio.sleep(self._pause())
        finally:
            if self.held.is_set():
                self.held.clear()
                await asyncio.shield(self._release())

    async def look(self) -> None:
        """Acquire or renew once, if that is right now."""
        asked = self._clock()
        try:
            async with asyncio.timeout(self._part.renew):
                got = await self._try()
            self._heard = self._clock()
        except UNREACHABLE as error:
            log.warning("the lease can't be renewed", extra={"reason": str(error)})
            got = None
        if got:
            self._until = asked + self._part.duration * 2 / 3
            if not self.held.is_set():
                log.info("this replica acts", extra={"identity": self._identity})
                self.held.set()
        elif got is False or self._clock() >= self._until:
            self._lose()

    def _lose(self) -> None:
        if self.held.is_set():
            log.warning("this replica acts no longer: its lease is lost", extra={"identity": self._identity})
            self.held.clear()

    def _pause(self) -> float:
        if not self.held.is_set():
            return self._part.renew / 2
        return max(min(self._part.renew, self._until - self._clock()), 0.05)

    async def _try(self) -> bool:
        """Whether it is ours now."""
        found = await self._cluster.get(self._key)
        if found is None:
            return await self._put(self._cluster.create, self._written({}, 0))
        spec = found["spec"]
        holder = spec.get("holderIdentity") or ""
        if holder not in ("", self._identity) and not self._is_stale(found):
            return False
        transitions = spec.get("leaseTransitions", 0) + (holder != self._identity)

        async def replace(body: Object) -> Object:
            return await self._cluster.replace(self._key, body)

        return await self._put(replace, self._written(found, transitions))

    def _is_stale(self, found: Object) -> bool:
        version = found["metadata"]["resourceVersion"]
        if self._seen is None or self._seen[0] != version:
            self._seen = version, self._clock()
        return self._clock() - self._seen[1] > self._part.duration

    async def _put(self, put: Callable[[Object], object], body: Object) -> bool:
        try:
            made = put(body)
            assert asyncio.iscoroutine(made)
            await made
        except ApiError as error:
            if error.status == 409:
                return False
            raise
        return True

    def _written(self, found: Object, transitions: int) -> Object:
        now = to_micro_time(datetime.now(UTC))
        held = (found.get("spec") or {}).get("holderIdentity") == self._identity
        metadata = {"name": self._key.name, "namespace": self._key.namespace, **found.get("metadata", {})}
        metadata.pop("managedFields", None)
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": max(1, round(self._part.duration)),
                "acquireTime": (found.get("spec") or {}).get("acquireTime", now) if held else now,
                "renewTime": now,
                "leaseTransitions": transitions,
            },
        }

    async def _release(self) -> None:
        """So that the other needn't wait."""
        try:
            async with asyncio.timeout(2.0):
                found = await self._cluster.get(self._key)
                if found is not None and found["spec"].get("holderIdentity") == self._identity:
                    found["spec"]["holderIdentity"] = ""
                    found["metadata"].pop("managedFields", None)
                    await self._cluster.replace(self._key, found)
        except UNREACHABLE as error:
            log.info("the lease runs out by itself", extra={"reason": str(error)})
