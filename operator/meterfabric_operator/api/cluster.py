"""The API server as the operator calls it: a thin shell around the asynchronous client, in JSON."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final, cast

import aiohttp
import msgspec
from kubernetes.aio import client, config

from meterfabric_operator.api.fence import fence
from meterfabric_operator.api.kinds import Kind
from meterfabric_operator.objects import MANAGER, Key, Object

_TIMEOUT: Final = 15.0
_SILENCE = 75.0
"""Seconds without any event, or the bookmark of every minute, after which a watch has ended."""
_WATCH_SECONDS = 600
_METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"


class ApiError(Exception):
    """An answer that isn't a success: the HTTP status, the API's reason (`Conflict`, …) and message."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


# The client's functions say nothing of their types.
_config: Any = config


async def connect(kinds: Mapping[str, Kind], may: Callable[[], bool] | None = None) -> Cluster:
    """The API server of the pod that we are in, or of the current context where we are in none.

    `may`: whether anything may be written at this moment; without it, always.
    """
    settings = client.Configuration()
    try:
        _config.load_incluster_config(client_configuration=settings)
    except config.ConfigException:
        await _config.load_kube_config(client_configuration=settings)
    if may is not None:
        settings.trace_configs = [fence(may)]
    return Cluster(client.ApiClient(configuration=settings), kinds)


class Cluster:
    """Methods raise ApiError, OSError or aiohttp.ClientError where the server isn't reached, and writes NotActing."""

    def __init__(self, api: Any, kinds: Mapping[str, Kind]) -> None:
        self._api = api
        self.kinds = kinds

    async def close(self) -> None:
        """End all connections."""
        await self._api.close()

    async def get(self, key: Key) -> Object | None:
        """The object as it is now; None where there is none."""
        try:
            return await self._call("GET", self._path(key))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def list_metadata(self, kind: str, selector: str, namespace: str = "") -> tuple[Sequence[Object], str]:
        """The metadata of all objects with these labels, and the version from which to watch them."""
        query = [("labelSelector", selector)]
        found = await self._call("GET", self.kinds[kind].path(namespace), query=query, accept=_METADATA_LIST)
        return found.get("items") or (), str(found["metadata"]["resourceVersion"])

    async def watch(self, kind: str, selector: str, namespace: str, version: str) -> AsyncIterator[tuple[str, Object]]:
        """What happens to them from that version on: ``("ADDED" | "MODIFIED" | "DELETED", metadata)``.

        Ends by itself after some minutes. Raises ApiError with status 410 where the version is too old, and
        TimeoutError where not even the bookmark of every minute comes.
        """
        query = [
            ("labelSelector", selector),
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", version),
            ("timeoutSeconds", str(_WATCH_SECONDS)),
        ]
        request: Any = await self._api.param_serialize(
            "GET",
            self.kinds[kind].path(namespace),
            query_params=query,
            header_params={"Accept": _METADATA},
            auth_settings=["BearerToken"],
        )
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_TIMEOUT, sock_read=_SILENCE)
        answer = (await self._api.call_api(*request, _request_timeout=timeout)).response
        async with answer:
            if answer.status != 200:
                raise ApiError(answer.status, str(answer.reason), (await answer.text())[:200])
            async for line in answer.content:
                try:
                    event = msgspec.json.decode(line)
                except ValueError as error:
                    raise OSError(f"a watch was cut off amid an event: {error}") from error
                body = event["object"]
                if event["type"] == "ERROR":
                    raise ApiError(int(body.get("code", 500)), str(body.get("reason")), str(body.get("message")))
                if event["type"] != "BOOKMARK":
                    yield event["type"], body

    async def list(self, kind: str, selector: str = "", namespace: str = "") -> list[Object]:
        """All objects with these labels."""
        query = [("labelSelector", selector)] if selector else []
        found = await self._call("GET", self.kinds[kind].path(namespace), query=query)
        return cast(list[Object], found.get("items", []))

    async def pages(self, kind: str, selector: str, namespace: str, limit: int) -> AsyncIterator[Object]:
        """Lists that are all objects with these labels together, so many in each, all of the same version."""
        token = ""
        while True:
            query = [("limit", str(limit))]
            query += [("labelSelector", selector)] if selector else []
            query += [("continue", token)] if token else []
            found = await self._call("GET", self.kinds[kind].path(namespace), query=query)
            yield found
            token = found["metadata"].get("continue", "")
            if not token:
                return

    async def create(self, body: Object, *, dry_run: bool = False) -> Object:
        """Make an object. Raises ApiError with status 409 where there is one."""
        metadata = body["metadata"]
        query = [("fieldManager", MANAGER)] + ([("dryRun", "All")] if dry_run else [])
        path = self.kinds[body["kind"]].path(metadata.get("namespace", ""))
        return await self._call("POST", path, body=body, query=query)

    async def apply(self, body: Object) -> Object:
        """Make the object what `body` says, by server-side apply; fields that somebody else set there become ours."""
        metadata = body["metadata"]
        path = self.kinds[body["kind"]].path(metadata.get("namespace", ""), metadata["name"])
        query = [("fieldManager", MANAGER), ("force", "true")]
        return await self._call("PATCH", path, body=body, query=query, content=APPLY)

    async def patch(self, key: Key, body: Object, part: str = "", *, manager: str = MANAGER) -> Object:
        """Merge `body` into an object or its subresource (RFC 7386). ``manager``: whose the fields are then."""
        query = [("fieldManager", manager)]
        return await self._call("PATCH", self._path(key, part), body=body, query=query, content=MERGE)

    async def replace(self, key: Key, body: Object) -> Object:
        """Put `body` in the object's place. Raises ApiError with status 409 where it changed meanwhile."""
        return await self._call("PUT", self._path(key), body=body, query=[("fieldManager", MANAGER)])

    async def evict(self, body: Object) -> None:
        """Ask for a pod's end, which budgets may forbid (policy/v1). Raises ApiError with status 429 where one does."""
        metadata = body["metadata"]
        path = self.kinds["Pod"].path(metadata["namespace"], metadata["name"], "eviction")
        await self._call("POST", path, body=body)

    async def delete(self, key: Key) -> None:
        """Remove an object, and what it owns after it; it may be gone already."""
        try:
            await self._call("DELETE", self._path(key), query=[("propagationPolicy", "Background")])
        except ApiError as error:
            if error.status != 404:
                raise

    def _path(self, key: Key, part: str = "") -> str:
        return self.kinds[key.kind].path(key.namespace, key.name, part)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: Object | None = None,
        query: Sequence[tuple[str, str]] = (),
        content: str = "application/json",
        accept: str = "application/json",
    ) -> Object:
        headers = {"Accept": accept, "Content-Type": content}
        request: Any = await self._api.param_serialize(
            method, path, query_params=list(query), header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        response = await self._api.call_api(*request, _request_timeout=_TIMEOUT)
        data = await response.read()
        try:
            found = msgspec.json.decode(data) if data else {}
        except msgspec.DecodeError:
            found = {"message": data[:200].decode(errors="replace")}
        if not 200 <= response.status <= 299:
            raise ApiError(response.status, str(found.get("reason", response.reason)), str(found.get("message", "")))
        return cast(Object, found)
