"""The API server as a measurement calls it: many requests at a time, as the cluster's administrator."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec

from meterfabric_operator.api.kinds import kinds
from meterfabric_operator.objects import Object
from tests.cluster.cluster import Cluster
from tests.cluster.control import SERVER

AT_A_TIME = 8
_PATIENCE = 300.0
_LONG = aiohttp.ClientTimeout(total=None)
_OTHER = {"ServiceAccount": "/api/v1", "FlowSchema": "/apis/flowcontrol.apiserver.k8s.io/v1"}
_KINDS = kinds("admissionregistration.k8s.io/v1")


class Refused(Exception):
    """An answer that isn't a success."""


class ApiServer:
    """Methods raise Refused, and aiohttp.ClientError where there is no answer."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def call(self, method: str, path: str, body: object = None, content: str = "application/json") -> Any:
        """The answer, read as JSON where it is."""
        data = None if body is None else msgspec.json.encode(body)
        async with self._session.request(method, path, data=data, headers={"Content-Type": content}) as answer:
            found = await answer.read()
            if answer.status >= 300:
                raise Refused(f"{method} {path}: {answer.status} {found[:500].decode(errors='replace')}")
        return msgspec.json.decode(found) if found[:1] == b"{" else found.decode()

    async def create(self, body: Object) -> Object:
        """Make an object."""
        metadata = body["metadata"]
        made: Object = await self.call("POST", path(body["kind"], metadata.get("namespace", "")), body)
        return made

    async def get(self, kind: str, namespace: str, name: str) -> Object:
        """An object."""
        found: Object = await self.call("GET", path(kind, namespace, name))
        return found

    async def delete(self, kind: str, namespace: str, name: str, *, now: bool = False) -> None:
        """Remove an object. `now`: without its grace period."""
        await self.call("DELETE", path(kind, namespace, name) + ("?gracePeriodSeconds=0" if now else ""))

    async def until(self, kind: str, namespace: str, name: str, condition: Callable[[Object], bool]) -> float:
        """When an object was first seen to be so, by the monotonic clock. Raises TimeoutError after minutes."""
        where = f"{path(kind, namespace)}?watch=true&fieldSelector=metadata.name%3D{name}"
        async with asyncio.timeout(_PATIENCE), self._session.get(where, timeout=_LONG) as stream:
            async for line in stream.content:
                if condition(msgspec.json.decode(line)["object"]):
                    return time.monotonic()
        raise Refused(f"the watch of {kind} {name} ended")

    async def merge(self, kind: str, namespace: str, name: str, body: Object, part: str = "") -> Object:
        """Merge into an object or a subresource of it."""
        made: Object = await self.call("PATCH", path(kind, namespace, name, part), body, "application/merge-patch+json")
        return made

    async def items(self, kind: str, selector: str = "") -> AsyncIterator[Object]:
        """All objects of a kind, in pages."""
        token = ""
        while True:
            query = f"?limit=500&labelSelector={selector}&continue={token}"
            page = await self.call("GET", path(kind) + query)
            for each in page["items"]:
                yield each
            token = page["metadata"].get("continue", "")
            if not token:
                return

    async def counter(self, name: str, **labels: str) -> float:
        """The sum of the API server's counters of that name with these labels."""
        lines = (await self.call("GET", "/metrics")).splitlines()
        return summed(lines, name, labels)


def path(kind: str, namespace: str = "", name: str = "", part: str = "") -> str:
    """Where a kind's collection, an object, or a part of one is."""
    if kind in _OTHER:
        place = f"/namespaces/{namespace}" if namespace else ""
        return f"{_OTHER[kind]}{place}/{kind.lower()}s" + (f"/{name}" if name else "")
    return _KINDS[kind].path(namespace, name, part)


def summed(lines: Iterable[str], name: str, labels: Mapping[str, str]) -> float:
    """The sum of the samples called `name` that have these labels; ``lines``: a page of metrics."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    found = re.compile(rf"{re.escape(name)}(\{{.*\}})? ")
    return sum(
        float(line.rpartition(" ")[2]) for line in lines if found.match(line) and all(each in line for each in wanted)
    )


@asynccontextmanager
async def connected(cluster: Cluster) -> AsyncIterator[ApiServer]:
    """For as long as the block lasts."""
    keys = cluster.plan.keys
    context = ssl.create_default_context(cafile=str(keys / "ca.crt"))
    context.load_cert_chain(keys / "admin.crt", keys / "admin.key")
    port = cluster.forward(SERVER.removeprefix("https://"))
    connector = aiohttp.TCPConnector(ssl=context, limit=AT_A_TIME * 2)
    async with aiohttp.ClientSession(
        f"https://127.0.0.1:{port}", connector=connector, trust_env=False, read_bufsize=2**22
    ) as session:
        yield ApiServer(session)


async def all_of(calls: Iterable[Callable[[], Coroutine[Any, Any, object]]]) -> None:
    """Make calls, so many at a time. Raises the first that fails."""
    waiting = iter(calls)

    async def serve() -> None:
        for call in waiting:
            await call()

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_A_TIME):
            group.create_task(serve())
