"""What the API server is answered: an AdmissionReview (admission.k8s.io/v1) about a pod, with a patch or without."""

from __future__ import annotations

from base64 import b64encode
from typing import Any, Final

import msgspec

from meterfabric_operator.admission import injection_patch
from meterfabric_operator.api.cluster import Cluster
from meterfabric_operator.injector.remembered import Remembered
from meterfabric_operator.injector.settings import Settings
from meterfabric_operator.objects import FABRIC, Key, Object

API_VERSION: Final = "admission.k8s.io/v1"


class _Named(msgspec.Struct):
    name: str


class _Metadata(msgspec.Struct):
    annotations: dict[str, str] | None = None


class _Spec(msgspec.Struct, rename="camel"):
    host_network: bool | None = None
    init_containers: list[_Named] | None = None
    termination_grace_period_seconds: int | None = None


class _Pod(msgspec.Struct):
    metadata: _Metadata
    spec: _Spec


class _Request(msgspec.Struct):
    uid: str
    namespace: str
    object: _Pod


class _Review(msgspec.Struct, rename="camel"):
    """What of a review is read, so that anything else that somebody sends is refused in one place."""

    api_version: str
    request: _Request


class Unreadable(Exception):
    """What was sent isn't a review of a pod; the message says where."""


class Injector:
    """Answers reviews. Which fabric a pod's namespace joined is read as the pod is made, with `Remembered`'s bounds."""

    def __init__(self, settings: Settings, cluster: Cluster) -> None:
        self._settings = settings
        self.read: Remembered[Key, Object | None] = Remembered(cluster.get)

    async def answer(self, body: bytes) -> Object:
        """The review that answers ``body``. Raises Unreadable, and as `Remembered.get` where the API isn't there."""
        try:
            review: Any = msgspec.json.decode(body)
            request = msgspec.convert(review, _Review).request
        except msgspec.DecodeError as error:
            raise Unreadable(str(error)) from error
        if review["apiVersion"] != API_VERSION:
            raise Unreadable(f"apiVersion: {API_VERSION} is spoken here")
        response: Object = {"uid": request.uid, "allowed": True}
        if patch := await self._patch(request.namespace, review["request"]["object"]):
            response |= {"patchType": "JSONPatch", "patch": b64encode(msgspec.json.encode(patch)).decode()}
        return {"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response}

    async def _patch(self, namespace: str, pod: Object) -> list[Object]:
        if not injection_patch.concerns(pod):
            return []
        fabric = await self._fabric(namespace)
        if fabric is None:
            return []
        return injection_patch.build(pod, fabric, self._settings.image, self._settings.image_pull_policy)

    async def _fabric(self, namespace: str) -> Object | None:
        """The fabric that a namespace joined and may; never one of its own, whose relays would be producers too."""
        if self._settings.producers and namespace not in self._settings.producers:
            return None
        found = await self.read.get(Key("Namespace", "", namespace))
        joined = ((found or {"metadata": {}})["metadata"].get("labels") or {}).get(FABRIC, "")
        where, _, name = joined.partition(".")
        if not name or where == namespace or (self._settings.fabrics and where not in self._settings.fabrics):
            return None
        return await self.read.get(Key("MeteringFabric", where, name))
