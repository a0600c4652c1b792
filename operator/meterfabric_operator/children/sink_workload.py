"""The workers of a sink: a Deployment where several can share the destination, else one in a StatefulSet."""

from __future__ import annotations

from typing import Any

from meterfabric_operator import names
from meterfabric_operator.children import relay_service
from meterfabric_operator.children.metadata import of_sink
from meterfabric_operator.children.pod import container_security, pod, probes, resources
from meterfabric_operator.environment import from_field, scratch, variables
from meterfabric_operator.objects import FABRIC, GROUP, SINK, Object, labels
from meterfabric_operator.wanted import SinkFacts
from meterfabric_protocol.fabric_spec import Storage
from meterfabric_protocol.notation import amount

_DRAIN = 20.0
_DATA = "/var/lib/meterfabric"


def selector(facts: SinkFacts) -> dict[str, str]:
    """The labels that this sink's workers have and nothing else has."""
    return {FABRIC: facts.of.id, SINK: facts.name, "app.kubernetes.io/component": "sink"}


def build(facts: SinkFacts) -> Object:
    """Nothing that a worker holds is lost with it, so workers of a Deployment are rolled like relays."""
    storage = _storage(facts)
    kind = "Deployment" if storage is None else "StatefulSet"
    spec: Object = {
        "replicas": facts.sink.spec.workers,
        "selector": {"matchLabels": selector(facts)},
        "revisionHistoryLimit": 3,
        "template": {
            "metadata": {
                "labels": labels(facts.of.id, "sink", **{SINK: facts.name}),
                # A database that moved, or a password that changed, takes effect by new pods.
                "annotations": {f"{GROUP}/url": facts.url_version},
            },
            "spec": pod(facts.of.settings, _container(facts, storage), _volumes(facts), selector(facts)),
        },
    }
    if storage is None:
        spec["strategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    else:
        spec |= _stateful(facts, storage)
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": of_sink(facts),
        "spec": spec,
    }


def _storage(facts: SinkFacts) -> Storage | None:
    chosen = facts.sink.spec.destination
    files = chosen.file or chosen.sqlite
    return files.storage if files is not None else None


def _container(facts: SinkFacts, storage: Storage | None) -> Object:
    of = facts.of
    settings: dict[str, Any] = {
        "fabric": of.id,
        "name": facts.name,
        "trust": "/etc/meterfabric/trust/trust.pem",
        "key": "/etc/meterfabric/sink/key.pem",
        "chain": "/etc/meterfabric/sink/chain.pem",
        "relays": relay_service.url(of),
        "relay_key": of.relay_public,
        "record_bytes": amount(of.fabric.spec.limits.record_bytes),
        "http_port": names.SINK_PAGES,
        "drain": _DRAIN,
    }
    mounts = [
        {"name": "trust", "mountPath": "/etc/meterfabric/trust", "readOnly": True},
        {"name": "sink", "mountPath": "/etc/meterfabric/sink", "readOnly": True},
    ]
    if storage is not None:
        mounts.append({"name": "records", "mountPath": _DATA})
    return {
        "name": "sink",
        "image": of.settings.image,
        "imagePullPolicy": of.settings.image_pull_policy,
        "command": ["meterfabric-sink"],
        "env": [
            *from_field("SINK", worker="metadata.name", http_host="status.podIP"),
            _url(facts),
            *variables("SINK", settings),
            *([scratch(_DATA)] if storage is not None else []),
        ],
        "ports": [{"name": "pages", "containerPort": names.SINK_PAGES, "protocol": "TCP"}],
        **probes("pages"),
        "resources": resources(facts.sink.spec.resources),
        "securityContext": container_security(),
        "volumeMounts": mounts,
    }


def _url(facts: SinkFacts) -> Object:
    chosen, name = facts.sink.spec.destination, "METERFABRIC_SINK_URL"
    if chosen.file is not None:
        return {"name": name, "value": f"file:{_DATA}/records"}
    if chosen.postgres is None:
        return {"name": name, "value": f"sqlite:{_DATA}/records.db"}
    if chosen.postgres.secret_ref is None:
        return {"name": name, "value": (chosen.postgres.url or "").replace("$(", "$$(")}
    reference = chosen.postgres.secret_ref
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": reference.name, "key": reference.key}}}


def _volumes(facts: SinkFacts) -> list[Object]:
    return [
        {"name": "trust", "configMap": {"name": names.trust(facts.of.name)}},
        {"name": "sink", "secret": {"secretName": names.sink(facts.name), "defaultMode": 0o400}},
    ]


def _stateful(facts: SinkFacts, storage: Storage) -> Object:
    """The volume stays when the sink goes: it holds what was billed."""
    claim: Object = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": storage.size}},
    }
    if storage.storage_class_name is not None:
        claim["storageClassName"] = storage.storage_class_name
    return {
        "serviceName": names.sink(facts.name),
        # There is one pod. With OrderedReady one that never became ready isn't replaced by what mends it.
        "podManagementPolicy": "Parallel",
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
        "volumeClaimTemplates": [
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": "records", "labels": {SINK: facts.name}},
                "spec": claim,
            }
        ],
    }
