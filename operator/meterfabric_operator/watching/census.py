"""Everything that is watched, listed: before anybody acts, and then now and again.

Nobody may act before everything is known: what isn't known yet would look as if it were gone. And where a watch broke
and the API server no longer has its place in the history, as after a restart, kopf begins it anew without a word on
what is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Sequence
from typing import Final

from meterfabric_operator.api.cluster import ApiError, Cluster
from meterfabric_operator.api.lease import UNREACHABLE
from meterfabric_operator.objects import Key, key_of
from meterfabric_operator.watching.handlers import PAGE, SELECTORS, Watching

log = logging.getLogger(__name__)

EVERY: Final = 600.0
"""Seconds at most from one to the next."""
_AGAIN: Final = 2.0
"""After one that failed, and between watches that begin anew and the next: they do so together."""


class Census:
    """``kinds``: those that are watched. ``namespaces``: where; none for everywhere."""

    def __init__(self, cluster: Cluster, watching: Watching, kinds: Sequence[str], namespaces: Sequence[str]) -> None:
        self._cluster = cluster
        self._watching = watching
        self._kinds = kinds
        self._namespaces = namespaces

    async def run(self) -> None:
        """For ever; cancel to end."""
        while True:
            try:
                await self.take()
            except UNREACHABLE as error:
                log.warning("not everything can be listed, tried again", extra={"reason": str(error)})
                await asyncio.sleep(_AGAIN)
            else:
                self._watching.complete.set()
                await self._pause()

    async def _pause(self) -> None:
        """Until it is time, or watches have begun anew."""
        anew = self._watching.anew
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EVERY * (0.5 + random.random() / 2)):  # noqa: S311 - jitter
                await anew.wait()
        while anew.is_set():
            anew.clear()
            await asyncio.sleep(_AGAIN)

    async def take(self) -> None:
        """List everything once. Raises as Cluster does."""
        for kind in self._kinds:
            places = self._namespaces if self._cluster.kinds[kind].namespaced else ()
            for namespace in places or ("",):
                await self._list(kind, namespace)

    async def _list(self, kind: str, namespace: str) -> None:
        there: set[Key] = set()
        listed = 0
        try:
            async for page in self._cluster.pages(kind, SELECTORS.get(kind, ""), namespace, PAGE):
                listed = int(page["metadata"]["resourceVersion"])
                for body in page.get("items", []):
                    there.add(key_of({**body, "kind": kind}))
                    self._watching.take(kind, body)
        except ApiError as error:
            if error.status == 404:
                # A kind that this API server doesn't serve.
                return
            raise
        self._watching.counted(kind, namespace, there, listed)
