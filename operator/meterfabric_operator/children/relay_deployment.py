"""The Deployment of a fabric's relays."""

from __future__ import annotations

from meterfabric_operator import names
from meterfabric_operator.children.metadata import of_fabric
from meterfabric_operator.children.pod import container_security, pod, probes, resources
from meterfabric_operator.environment import from_field, variables
from meterfabric_operator.objects import Object, labels
from meterfabric_operator.wanted import FabricFacts
from meterfabric_protocol.notation import amount

_DRAIN = 20.0
_FEWEST_SINKS = 4
"""A relay divides its memory among so many sinks at least, so that a sink that joins seldom rolls the relays."""


def selector(facts: FabricFacts) -> dict[str, str]:
    """The labels that relays have and nothing else has."""
    return {"app.kubernetes.io/component": "relay", "meterfabric.io/fabric": facts.id}


def build(facts: FabricFacts) -> Object:
    """Rolled one by one, each only gone when its successor is ready; a relay drains whatever ends it."""
    relay = facts.fabric.spec.relay
    settings = {
        "fabric": facts.id,
        "trust": "/etc/meterfabric/trust/trust.pem",
        "curve": "/etc/meterfabric/relay/relays.curve",
        "port": names.RELAY_PORT,
        "http_port": names.RELAY_PAGES,
        "memory": amount(relay.memory),
        "sinks": max(_FEWEST_SINKS, len(facts.sinks)),
        "connections": relay.max_connections,
        "drain": _DRAIN,
    }
    container = {
        "name": "relay",
        "image": facts.settings.image,
        "imagePullPolicy": facts.settings.image_pull_policy,
        "command": ["meterfabric-relay"],
        "env": from_field("RELAY", name="metadata.name", host="status.podIP", http_host="status.podIP")
        + variables("RELAY", settings),
        "ports": [
            {"name": "relay", "containerPort": names.RELAY_PORT, "protocol": "TCP"},
            {"name": "pages", "containerPort": names.RELAY_PAGES, "protocol": "TCP"},
        ],
        **probes("pages"),
        "resources": resources(relay.resources),
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": "trust", "mountPath": "/etc/meterfabric/trust", "readOnly": True},
            {"name": "relay", "mountPath": "/etc/meterfabric/relay", "readOnly": True},
        ],
    }
    volumes = [
        {"name": "trust", "configMap": {"name": names.trust(facts.name)}},
        {"name": "relay", "secret": {"secretName": names.relay(facts.name), "defaultMode": 0o400}},
    ]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": of_fabric(facts, names.relay(facts.name), "relay"),
        "spec": {
            "replicas": relay.count,
            "selector": {"matchLabels": selector(facts)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "minReadySeconds": 2,
            "revisionHistoryLimit": 3,
            "template": {
                "metadata": {"labels": labels(facts.id, "relay")},
                "spec": pod(facts.settings, container, volumes, selector(facts)),
            },
        },
    }
