"""Kubernetes objects as JSON holds them, and what all of ours have in common: labels, owners, names of fields."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

Object = dict[str, Any]
"""An object of the API, or a part of one."""

GROUP: Final = "meterfabric.io"
FABRIC: Final = f"{GROUP}/fabric"
"""Label. On a namespace: which fabric it joins, NAMESPACE.NAME. On what runs for a fabric: which."""
SINK: Final = f"{GROUP}/sink"
"""Label of what runs for a sink: its name."""
INJECT: Final = f"{GROUP}/inject"
"""Label of a pod that is to get a sidecar: "true"."""
DIGEST: Final = f"{GROUP}/applied"
"""Annotation: a digest of what was applied."""
LET_GO: Final = f"{GROUP}/let-go"
"""Annotation of a fabric or sink that is deleted although records are pending: "true"."""
FINALIZER: Final = f"{GROUP}/cleanup"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGER: Final = "meterfabric-operator"


@dataclass(frozen=True, order=True, slots=True)
class Key:
    """What names an object; `namespace` is empty for one of the cluster's."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {place}"


def key_of(body: Mapping[str, Any]) -> Key:
    """The key of an object."""
    metadata = body["metadata"]
    return Key(body["kind"], metadata.get("namespace") or "", metadata["name"])


def labels(fabric: str, component: str, **more: str) -> dict[str, str]:
    """The labels of what runs for a fabric. ``fabric``: NAMESPACE.NAME."""
    return {
        "app.kubernetes.io/name": "meterfabric",
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": "meterfabric",
        MANAGED_BY: MANAGER,
        FABRIC: fabric,
        **more,
    }


def owned_by(kind: str, name: str, uid: str) -> list[Object]:
    """The owner reference that has the garbage collector remove an object with its fabric or sink."""
    return [
        {
            "apiVersion": f"{GROUP}/v1alpha1",
            "kind": kind,
            "name": name,
            "uid": uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }
    ]


def digest(body: Mapping[str, Any]) -> str:
    """A digest of an object as it is wanted; equal for equal content."""
    return hashlib.sha256(msgspec.json.encode(body, order="deterministic")).hexdigest()[:32]


def with_digest(body: Object) -> Object:
    """The same object with the annotation that says what was applied."""
    metadata = body["metadata"]
    annotations = {**metadata.get("annotations", {}), DIGEST: digest(body)}
    return {**body, "metadata": {**metadata, "annotations": annotations}}


def to_time(moment: datetime) -> str:
    """Kubernetes' Time: RFC 3339 in UTC, to the second. ``moment``: aware."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def to_micro_time(moment: datetime) -> str:
    """Kubernetes' MicroTime: the same to the microsecond."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
