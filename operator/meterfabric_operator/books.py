"""The books of fabrics: what each sink holds, asked of one of its workers once a minute, and summed.

A sink knows of a record once its log's head came by, so these books lag behind the sidecars' own; an audit, which reads
every leaf, stands over them.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import aiohttp

from meterfabric_operator import names
from meterfabric_operator.cluster import Cluster
from meterfabric_operator.lease import UNREACHABLE
from meterfabric_operator.objects import SINK, Key, Object
from meterfabric_operator.observed import Observed
from meterfabric_operator.wanted import FabricFacts

log = logging.getLogger(__name__)

EVERY: Final = 60.0
_CALL = aiohttp.ClientTimeout(total=5.0)
_AT_A_TIME = 8


@dataclass(frozen=True)
class Books:
    """Leaves by fate. `since`: when the longest waiting log was last written, Unix seconds, 0 where nothing waits."""

    delivered: int
    expired: int
    pending: int
    since: int
    asked: datetime

    def status(self) -> dict[str, Any]:
        """As a status holds them."""
        oldest = int(self.asked.timestamp()) - self.since if self.since else 0
        return {
            "accepted": self.delivered + self.expired + self.pending,
            "delivered": self.delivered,
            "expired": self.expired,
            "pending": self.pending,
            "oldestPending": f"{max(oldest, 0)}s",
        }


def read(page: Any, asked: datetime) -> Books:
    """A sink's page /books. Raises ValueError."""
    try:
        return Books(int(page["records"]), int(page["stubbed"]), int(page["pending"]), int(page["since"]), asked)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not the books of a sink: {error!r}") from error


def summed(books: Iterable[Books]) -> Books | None:
    """Of several sinks; None where there are none."""
    found = list(books)
    if not found:
        return None
    return Books(
        sum(each.delivered for each in found),
        sum(each.expired for each in found),
        sum(each.pending for each in found),
        min((each.since for each in found if each.since), default=0),
        max(each.asked for each in found),
    )


def of_fabric(books: Mapping[Key, Books], facts: FabricFacts) -> Books | None:
    """Of a fabric's sinks, summed; None where no sink was heard yet."""
    keys = [Key("MeteringSink", facts.namespace, sink.metadata.name) for sink in facts.sinks]
    return summed(books[key] for key in keys if key in books)


def address(pods: Iterable[Object]) -> str | None:
    """Where the pages of a worker that is ready are."""
    for pod in pods:
        status = pod.get("status") or {}
        ready = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or [])
        if ready and status.get("podIP"):
            host = status["podIP"]
            return f"http://[{host}]:{names.SINK_PAGES}" if ":" in host else f"http://{host}:{names.SINK_PAGES}"
    return None


class Bookkeeper:
    """Asks the sinks, and has those looked at whose books changed."""

    def __init__(
        self, cluster: Cluster, observed: Observed, now: Callable[[], datetime], look: Callable[[Key], None]
    ) -> None:
        self._cluster = cluster
        self._observed = observed
        self._now = now
        self._look = look
        self._gate = asyncio.Semaphore(_AT_A_TIME)

    async def run(self, may: asyncio.Event) -> None:
        """Ask for ever while `may` is set; cancel to end."""
        async with aiohttp.ClientSession(timeout=_CALL, trust_env=False) as session:
            while True:
                await may.wait()
                await asyncio.gather(*(self._ask(session, key) for key in list(self._observed.sinks)))
                await asyncio.sleep(EVERY)

    async def _ask(self, session: aiohttp.ClientSession, key: Key) -> None:
        async with self._gate:
            try:
                selector = f"app.kubernetes.io/component=sink,{SINK}={key.name}"
                url = address(await self._cluster.list("Pod", selector, key.namespace))
                if url is None:
                    return
                async with session.get(f"{url}/books") as response:
                    if response.status != 200:
                        return
                    self._take(key, read(json.loads(await response.read()), self._now()))
            except (*UNREACHABLE, ValueError) as error:
                log.info("a sink's books can't be read", extra={"sink": str(key), "reason": str(error)})

    def _take(self, key: Key, books: Books) -> None:
        body = self._observed.sinks.get(key)
        before = self._observed.books.get(key)
        if body is None or (before is not None and before.status() == books.status()):
            return
        self._observed.books[key] = books
        self._look(key)
        self._look(Key("MeteringFabric", key.namespace, body["spec"]["fabric"]))
