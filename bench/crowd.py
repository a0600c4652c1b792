"""Many fabrics and pods, as objects only: nothing of them runs.

The controllers of Kubernetes are stopped meanwhile, since they would make thousands of pods of the relays' Deployments;
what they would write of a Deployment that is ready is written here. The pods that meter name a scheduler that doesn't
exist, and stay unbound.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from bench.apiserver import ApiServer, all_of
from meterfabric_operator.objects import FABRIC, INJECT, MANAGED_BY, MANAGER, Object


@dataclass(frozen=True)
class Crowd:
    """So many fabrics, each with one sink and one namespace of so many pods. `prefix` sets several crowds apart."""

    fabrics: int
    pods: int
    prefix: str = "many"
    together: int = 10
    """Fabrics in one namespace."""

    def fabric(self, number: int) -> tuple[str, str]:
        """A fabric's namespace and name, which is its sink's as well."""
        return f"{self.prefix}-{number // self.together:03}", f"fabric-{number:04}"

    def producers(self, number: int) -> str:
        """The namespace of its pods."""
        return f"{self.prefix}-pods-{number:04}"

    async def make_namespaces(self, api: ApiServer) -> None:
        """The namespaces, with the service accounts that pods need."""
        places = [self.fabric(number)[0] for number in range(0, self.fabrics, self.together)]
        joined = {self.producers(number): ".".join(self.fabric(number)) for number in range(self.fabrics)}
        namespaces = [_namespace(name, {}) for name in places]
        namespaces += [_namespace(name, {FABRIC: fabric}) for name, fabric in joined.items()]
        await all_of(partial(api.create, each) for each in namespaces)
        accounts = [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
            for name in joined
        ]
        await all_of(partial(api.create, each) for each in accounts)

    async def make_fabrics(self, api: ApiServer) -> None:
        """The fabrics and their sinks."""
        await all_of(partial(api.create, each) for number in range(self.fabrics) for each in self._objects(number))

    async def make_pods(self, api: ApiServer) -> None:
        """The pods, round-robin."""
        await all_of(partial(api.create, self._pod(number)) for number in range(self.pods))

    async def be_ready(self, api: ApiServer) -> None:
        """Say of every Deployment and StatefulSet of ours that it runs."""
        found = [
            (kind, each)
            for kind in ("Deployment", "StatefulSet")
            async for each in api.items(kind, f"{MANAGED_BY}%3D{MANAGER}")
        ]
        await all_of(partial(_say_ready, api, kind, each) for kind, each in found)

    def _objects(self, number: int) -> Iterator[Object]:
        namespace, name = self.fabric(number)
        metadata = {"name": name, "namespace": namespace}
        common: Object = {"apiVersion": "meterfabric.io/v1alpha1", "metadata": metadata}
        yield {**common, "kind": "MeteringFabric", "spec": {}}
        destination = {"postgres": {"secretRef": {"name": "database"}}}
        yield {**common, "kind": "MeteringSink", "spec": {"fabric": name, "destination": destination}}

    def _pod(self, number: int) -> Object:
        container = {
            "name": "meter",
            "image": "meter:1",
            "env": [{"name": f"SETTING_{each}", "value": "x" * 40} for each in range(10)],
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"meter-{number:05}",
                "namespace": self.producers(number % self.fabrics),
                "labels": {INJECT: "true", "app": "meter"},
            },
            "spec": {"schedulerName": "nobody", "automountServiceAccountToken": False, "containers": [container]},
        }


def _namespace(name: str, labels: dict[str, str]) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


async def _say_ready(api: ApiServer, kind: str, body: Object) -> None:
    metadata, replicas = body["metadata"], body["spec"]["replicas"]
    counted = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), replicas)
    status = {"observedGeneration": metadata["generation"], **counted}
    await api.merge(kind, metadata["namespace"], metadata["name"], {"status": status}, "status")
