"""The sidecar in a pod: one description, for the policy that the API server runs and for the webhook beside it.

`Values` holds what differs from pod to pod, as values or as expressions that yield them; the rest is said here, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from meterfabric_operator import names
from meterfabric_operator.children.pod import container_security
from meterfabric_operator.environment import from_field, variables
from meterfabric_operator.objects import Object

SPOOL_VOLUME = "meterfabric-spool"
KEY_VOLUME = "meterfabric-key"
API_VOLUME = "meterfabric-api"
LIVE_VOLUME = "meterfabric-live"

_DATA = "/var/lib/meterfabric"
_TOKEN_SECONDS = 3607
_KEY_BYTES = "1Mi"


@dataclass(frozen=True)
class Values:
    """What differs: the image of the release, the rest from the fabric's `status.sidecar`.

    `fabric`: NAMESPACE.NAME. `environment`: list of {name, value}, with what `fixed_environment` says after it.
    `spool`: the volume's source. `live`: the ConfigMap that is followed. `grace`: seconds for draining.
    """

    fabric: Any
    image: Any
    pull_policy: Any
    environment: Any
    cpu: Any
    memory: Any
    ephemeral_storage: Any
    spool: Any
    live: Any
    grace: Any


def fixed_environment() -> list[Object]:
    """What every sidecar is told."""
    settings = {
        "spool_dir": f"{_DATA}/spool",
        "key_dir": "/run/meterfabric/key/own",
        "trust": "/etc/meterfabric/live/trust.pem",
        "sinks": "/etc/meterfabric/live/sinks.json",
        "kubernetes": {"folder": "/run/meterfabric/api"},
    }
    of_pod = from_field(
        "SIDECAR",
        namespace="metadata.namespace",
        pod="metadata.name",
        pod_uid="metadata.uid",
        service_account="spec.serviceAccountName",
        pages_host="status.podIP",
    )
    # Service variables, which every pod has whatever `enableServiceLinks` says.
    server = [
        {"name": "METERFABRIC_SIDECAR_KUBERNETES_HOST", "value": "$(KUBERNETES_SERVICE_HOST)"},
        {"name": "METERFABRIC_SIDECAR_KUBERNETES_PORT", "value": "$(KUBERNETES_SERVICE_PORT)"},
    ]
    return [*of_pod, *server, *variables("SIDECAR", settings)]


def container(values: Values) -> Object:
    """A native sidecar (KEP-753): started before the pod's containers, stopped after them, and never in a Job's way.

    It has no readiness probe, so it never makes a pod unready.
    """
    amounts = {"cpu": values.cpu, "memory": values.memory, "ephemeral-storage": values.ephemeral_storage}
    page = {"path": "/healthz", "port": names.SIDECAR_PAGES}
    return {
        "name": names.SIDECAR,
        "image": values.image,
        "imagePullPolicy": values.pull_policy,
        "command": ["meterfabric-sidecar"],
        "restartPolicy": "Always",
        "env": values.environment,
        "ports": [{"name": "mf-pages", "containerPort": names.SIDECAR_PAGES, "protocol": "TCP"}],
        "startupProbe": {"httpGet": page, "periodSeconds": 1, "failureThreshold": 120, "timeoutSeconds": 2},
        "livenessProbe": {"httpGet": page, "periodSeconds": 10, "failureThreshold": 6, "timeoutSeconds": 5},
        "resources": {"requests": amounts, "limits": amounts},
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": SPOOL_VOLUME, "mountPath": _DATA},
            {"name": KEY_VOLUME, "mountPath": "/run/meterfabric/key"},
            {"name": API_VOLUME, "mountPath": "/run/meterfabric/api", "readOnly": True},
            {"name": LIVE_VOLUME, "mountPath": "/etc/meterfabric/live", "readOnly": True},
        ],
    }


def volumes(values: Values) -> list[Any]:
    """Spool, key, the way to the API, and what changes later."""
    token = {"path": "token", "expirationSeconds": _TOKEN_SECONDS}
    return [
        values.spool,
        {"name": KEY_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": _KEY_BYTES}},
        {
            "name": API_VOLUME,
            "projected": {
                "sources": [
                    {"serviceAccountToken": token},
                    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                ]
            },
        },
        {"name": LIVE_VOLUME, "configMap": {"name": values.live, "optional": True}},
    ]


def spool_on_node(size: Any) -> Object:
    """The spool on the node's disk."""
    return {"name": SPOOL_VOLUME, "emptyDir": {"sizeLimit": size}}


def spool_on_claim(size: Any, storage_class: Any) -> Object:
    """The spool on a volume made with the pod and removed with it; ``storage_class``: None for the default."""
    spec: Object = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    if storage_class is not None:
        spec["storageClassName"] = storage_class
    return {"name": SPOOL_VOLUME, "ephemeral": {"volumeClaimTemplate": {"spec": spec}}}
