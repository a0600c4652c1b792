"""An API server in memory, with what the operator uses of one: versions, generations, finalizers, merge patches."""

import copy
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Any

from meterfabric_operator import names
from meterfabric_operator.api.cluster import ApiError
from meterfabric_operator.objects import MANAGER, Key, Object, key_of


def merge(into: dict[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 7386."""
    made = dict(into)
    for name, value in patch.items():
        if value is None:
            made.pop(name, None)
        elif isinstance(value, Mapping):
            held = made.get(name)
            made[name] = merge(held if isinstance(held, dict) else {}, value)
        else:
            made[name] = value
    return made


class MemoryApi:
    """Stands where `Cluster` does. `log`: verb and key of each call that changes something."""

    def __init__(self) -> None:
        self.held: dict[Key, Object] = {}
        self.log: list[tuple[str, Key]] = []
        self.away = False
        self.injects = True
        self.time = "2026-11-24T12:00:00Z"
        self.budgeted: set[Key] = set()
        self._version = 0

    async def get(self, key: Key) -> Object | None:
        self._reach()
        return copy.deepcopy(self.held.get(key))

    async def list(self, kind: str, selector: str = "", namespace: str = "") -> list[Object]:
        self._reach()
        wanted = dict(part.split("=") for part in selector.split(",") if part)
        return [
            copy.deepcopy(body)
            for key, body in sorted(self.held.items())
            if key.kind == kind
            and namespace in ("", key.namespace)
            and wanted.items() <= body["metadata"].get("labels", {}).items()
        ]

    async def pages(self, kind: str, selector: str, namespace: str, limit: int) -> AsyncIterator[Object]:
        found = await self.list(kind, selector, namespace)
        for first in range(0, max(len(found), 1), limit):
            yield {"metadata": {"resourceVersion": str(self._version)}, "items": found[first : first + limit]}

    async def create(self, body: Object, *, dry_run: bool = False) -> Object:
        key = key_of(body)
        if dry_run:
            self._reach()
            return self.admit(copy.deepcopy(body))
        if key in self.held:
            raise ApiError(409, "AlreadyExists", str(key))
        return self._put("create", key, body)

    def admit(self, pod: Object) -> Object:
        """What admission makes of a pod."""
        pod["metadata"]["creationTimestamp"] = self.time
        if self.injects:
            pod["spec"]["initContainers"] = [{"name": names.SIDECAR}]
        return pod

    async def evict(self, body: Object) -> None:
        self._reach()
        key = Key("Pod", body["metadata"]["namespace"], body["metadata"]["name"])
        if key in self.budgeted:
            raise ApiError(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.")
        self.log.append(("evict", key))
        self.held.pop(key, None)

    async def apply(self, body: Object) -> Object:
        key = key_of(body)
        status = {name: each for name, each in self.held.get(key, {}).items() if name == "status"}
        return self._put("apply", key, {**body, **status})

    async def replace(self, key: Key, body: Object) -> Object:
        self._expect(key, body)
        return self._put("replace", key, body)

    async def patch(self, key: Key, body: Object, part: str = "", *, manager: str = MANAGER) -> Object:
        self._expect(key, body)
        if part == "scale":
            body = {"spec": {"relay": {"replicas": body["spec"]["replicas"]}}}
        held = self.held.get(key)
        if held is None:
            raise ApiError(404, "NotFound", str(key))
        return self._put(f"patch {part}".strip(), key, merge(held, body))

    async def delete(self, key: Key) -> None:
        self._reach()
        self.log.append(("delete", key))
        self.held.pop(key, None)

    def _reach(self) -> None:
        if self.away:
            raise OSError("no route to the API server")

    def _expect(self, key: Key, body: Object) -> None:
        version = body["metadata"].get("resourceVersion") if "metadata" in body else None
        held = self.held.get(key)
        if version is not None and held is not None and held["metadata"]["resourceVersion"] != version:
            raise ApiError(409, "Conflict", str(key))

    def _put(self, verb: str, key: Key, body: Object) -> Object:
        self._reach()
        self.log.append((verb, key))
        self._version += 1
        before = self.held.get(key, {"metadata": {}})
        metadata = {
            "uid": before["metadata"].get("uid", str(uuid.uuid4())),
            **body["metadata"],
            "resourceVersion": str(self._version),
        }
        if "spec" in body:
            changed = body["spec"] != before.get("spec")
            metadata["generation"] = before["metadata"].get("generation", 0) + changed
        made = copy.deepcopy({**body, "metadata": metadata})
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            self.held.pop(key, None)
        else:
            self.held[key] = made
        return copy.deepcopy(made)
