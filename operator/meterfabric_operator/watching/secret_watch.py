"""Watches our Secrets by their metadata alone, so that one that somebody deletes or changes is put right at once.

kopf reads whole objects. Here the API server is asked for what it calls PartialObjectMetadata, of what carries our
label: no key enters our memory but those that are read by their names when they are needed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from meterfabric_operator.api.cluster import ApiError, Cluster
from meterfabric_operator.api.lease import UNREACHABLE
from meterfabric_operator.objects import FABRIC, MANAGED_BY, MANAGER, SINK

log = logging.getLogger(__name__)

_SELECTOR = f"{MANAGED_BY}={MANAGER}"
_PAUSES = (0.5, 30.0)


class SecretWatch:
    """Calls ``take(body, gone)`` with kind and metadata of each. ``namespaces``: where; empty for everywhere."""

    def __init__(
        self, cluster: Cluster, namespaces: Sequence[str], take: Callable[[dict[str, Any], bool], None]
    ) -> None:
        self._cluster = cluster
        self._namespaces = tuple(namespaces) or ("",)
        self._take = take

    async def run(self) -> None:
        """Watch for ever; cancel to end."""
        async with asyncio.TaskGroup() as group:
            for namespace in self._namespaces:
                group.create_task(self._keep_watching(namespace))

    async def _keep_watching(self, namespace: str) -> None:
        known: dict[tuple[str, str], dict[str, Any]] = {}
        pause = _PAUSES[0]
        while True:
            try:
                version = await self._list(namespace, known)
                async for event, body in self._cluster.watch("Secret", _SELECTOR, namespace, version):
                    pause = _PAUSES[0]
                    self._told(known, body, gone=event == "DELETED")
            except UNREACHABLE as error:
                # A version that is too old (410) is an end that a watch may well have.
                told = logging.INFO if isinstance(error, ApiError) and error.status == 410 else logging.WARNING
                place = namespace or "everywhere"
                log.log(told, "Secrets are listed anew", extra={"place": place, "reason": str(error)})
            await asyncio.sleep(pause)
            pause = min(pause * 2, _PAUSES[1])

    async def _list(self, namespace: str, known: dict[tuple[str, str], dict[str, Any]]) -> str:
        """Take them as they are, and those that went while nobody watched; the version from which to watch."""
        found, version = await self._cluster.list_metadata("Secret", _SELECTOR, namespace)
        there = {_name(body) for body in found}
        for name in [name for name in known if name not in there]:
            self._told(known, known[name], gone=True)
        for body in found:
            before = known.get(_name(body))
            if before is None or before["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
                self._told(known, body, gone=False)
        return version

    def _told(self, known: dict[tuple[str, str], dict[str, Any]], body: dict[str, Any], *, gone: bool) -> None:
        metadata = body["metadata"]
        slim = {each: metadata[each] for each in ("namespace", "name", "resourceVersion")}
        whose = {each: value for each, value in (metadata.get("labels") or {}).items() if each in (FABRIC, SINK)}
        body = {"kind": "Secret", "metadata": {**slim, "labels": whose}}
        if gone:
            known.pop(_name(body), None)
        else:
            known[_name(body)] = body
        self._take(body, gone)


def _name(body: dict[str, Any]) -> tuple[str, str]:
    return body["metadata"]["namespace"], body["metadata"]["name"]
