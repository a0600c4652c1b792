"""Applying what is wanted, and removing what no longer is; nothing is asked of the server where nothing changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from meterfabric_operator.api.cluster import Cluster
from meterfabric_operator.objects import DIGEST, Key, Object, key_of, with_digest
from meterfabric_operator.watching.drift import holds
from meterfabric_operator.watching.observed import Child, Observed, child_of

log = logging.getLogger(__name__)


class Applier:
    """Remembers how each child stood after it was applied, so that a later look tells whether somebody changed it."""

    def __init__(self, cluster: Cluster, observed: Observed) -> None:
        self._cluster = cluster
        self._observed = observed
        self._states: dict[Key, str] = {}
        self.applied = 0
        """Objects sent since the start."""

    async def apply(self, wanted: Iterable[Object]) -> None:
        """Make each as it is wanted, in this order. Raises as Cluster does."""
        for body in wanted:
            marked, key = with_digest(body), key_of(body)
            seen = self._observed.children.get(key)
            if seen is not None and self._is_as_applied(key, seen, marked):
                continue
            if seen is not None and self._states.get(key, seen.state) != seen.state:
                log.info("put right again", extra={"object": str(key)})
            made = await self._cluster.apply(marked)
            self.applied += 1
            made.setdefault("kind", body["kind"])
            self._states[key] = child_of(made).state
            # What watching will tell soon, and then is no news.
            if self._observed.versions.advance(key, made):
                self._observed.set_child(made, gone=False)
            self._observed.unproven.pop(key, None)

    async def prune(self, kept: Iterable[Key], among: Iterable[Key]) -> None:
        """Remove those `among` that aren't to be `kept`."""
        unwanted = sorted(set(among) - set(kept))
        for key in unwanted:
            log.info("removed, since it is no longer wanted", extra={"object": str(key)})
        await asyncio.gather(*(self._cluster.delete(key) for key in unwanted))
        for key in unwanted:
            self.forget(key)

    def forget(self, key: Key) -> None:
        """It is gone."""
        self._states.pop(key, None)

    def _is_as_applied(self, key: Key, seen: Child, marked: Object) -> bool:
        found = self._observed.unproven.pop(key, None)
        if seen.applied != marked["metadata"]["annotations"][DIGEST]:
            return False
        if key not in self._states and found is not None and holds(found, marked):
            self._states[key] = seen.state
        return self._states.get(key) == seen.state
