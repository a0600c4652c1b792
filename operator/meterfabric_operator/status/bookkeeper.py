"""Asking sinks for their books, a worker of each once a minute, and telling who of those that wait is gone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Final

import aiohttp

from meterfabric_operator import names
from meterfabric_operator.api.cluster import ApiError, Cluster
from meterfabric_operator.api.lease import UNREACHABLE
from meterfabric_operator.objects import SINK, Key, Object
from meterfabric_operator.status import books
from meterfabric_operator.status.books import Open, Page
from meterfabric_operator.watching.observed import Observed

log = logging.getLogger(__name__)

EVERY: Final = 60.0
TICK: Final = 5.0
"""How soon a sink is asked that was never heard and has a worker that is ready."""
_QUIET: Final = 60.0
"""What a pod that is gone had sent may arrive for so long."""
_WORKERS: Final = "app.kubernetes.io/name=meterfabric,app.kubernetes.io/component=sink"
_CALL = aiohttp.ClientTimeout(total=15.0)
_AT_A_TIME = 8
_PAGE = 100
"""Pods of one answer: none of them is kept."""


def address(pods: Iterable[Object]) -> str | None:
    """Where the pages of a worker are: of one that is ready, else of one that runs: it may read what it can't write."""
    statuses = [pod["status"] for pod in pods if (pod.get("status") or {}).get("podIP")]
    running = [each for each in statuses if each.get("phase") == "Running"]
    if not running:
        return None
    host = max(running, key=_is_ready)["podIP"]
    return f"http://[{host}]:{names.SINK_PAGES}" if ":" in host else f"http://{host}:{names.SINK_PAGES}"


def _is_ready(status: Object) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or [])


class Bookkeeper:
    """Asks the sinks, and has those looked at whose books changed."""

    def __init__(
        self,
        cluster: Cluster,
        observed: Observed,
        now: Callable[[], datetime],
        look: Callable[[Key], None],
        namespaces: Sequence[str] = (),
    ) -> None:
        """``namespaces``: the listed ones that are served; empty for all."""
        self._cluster = cluster
        self._observed = observed
        self._now = now
        self._look = look
        self._namespaces = namespaces
        self._gate = asyncio.Semaphore(_AT_A_TIME)
        self._heard: set[Key] = set()
        self._gone: dict[Key, set[Open]] = {}
        """Of each sink: open logs of pods that are gone, which never come back."""

    async def run(self, may: asyncio.Event) -> None:
        """Ask for ever while `may` is set; cancel to end."""
        async with aiohttp.ClientSession(timeout=_CALL, trust_env=False) as session:
            again = 0.0
            while True:
                await may.wait()
                now = time.monotonic()
                ready = {key: self._observed.workers(key) for key in self._observed.sinks}
                self._heard &= ready.keys()
                due = {key for key, count in ready.items() if count is not None and (now >= again or count)}
                if now < again:
                    due -= self._heard
                if now >= again:
                    again = now + EVERY
                if due:
                    where = await self._workers()
                    await asyncio.gather(*(self._ask(session, key, where.get(key)) for key in due))
                await asyncio.sleep(TICK)

    async def _workers(self) -> dict[Key, str]:
        """Where the pages of a worker of each sink are, by a few requests for each listed namespace, or for all."""
        found: dict[Key, str] = {}
        try:
            for namespace in self._namespaces or ("",):
                async for page in self._cluster.pages("Pod", _WORKERS, namespace, _PAGE):
                    for pod in page.get("items", []):
                        name = pod["metadata"]["labels"].get(SINK, "")
                        if (url := address([pod])) is not None:
                            found.setdefault(Key("MeteringSink", pod["metadata"]["namespace"], name), url)
        except UNREACHABLE as error:
            log.info("workers of sinks can't be listed", extra={"reason": str(error)})
        return found

    async def _ask(self, session: aiohttp.ClientSession, key: Key, url: str | None) -> None:
        if url is None:
            return
        async with self._gate:
            try:
                async with session.get(f"{url}/books") as response:
                    data = await response.read()
                    if response.status != 200:
                        raise ValueError(data[:200].decode(errors="replace"))
                page, asked = books.read(data), self._now()
                self._heard.add(key)
                self._take(key, books.told(page, await self._who_is_gone(key, page, asked), asked))
            except (*UNREACHABLE, ValueError) as error:
                log.info("a sink's books can't be read", extra={"sink": str(key), "reason": str(error)})

    async def _who_is_gone(self, key: Key, page: Page, asked: datetime) -> set[Open]:
        before = self._gone.get(key, set())
        gone = set()
        for each in page.open:
            quiet = asked.timestamp() - each.since > _QUIET
            if each in before or (quiet and not await self._lives(each)):
                gone.add(each)
        self._gone[key] = gone
        return gone

    async def _lives(self, log_of: Open) -> bool:
        """Whether the pod may send yet; what watching doesn't show is looked up. A pod that may not be read lives."""
        if self._observed.meters(log_of.namespace, log_of.pod, log_of.uid):
            return True
        try:
            pod = await self._cluster.get(Key("Pod", log_of.namespace, log_of.pod))
        except ApiError as error:
            if error.status == 403:
                return True
            raise
        if pod is None or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            return False
        return log_of.uid in ("", pod["metadata"]["uid"])

    def _take(self, key: Key, found: books.Books) -> None:
        body = self._observed.sinks.get(key)
        if body is None or found.says_as(self._observed.books.get(key)):
            return
        self._observed.books[key] = found
        self._look(key)
        self._look(Key("MeteringFabric", key.namespace, body["spec"]["fabric"]))
