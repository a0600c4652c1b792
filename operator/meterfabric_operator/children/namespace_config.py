"""The ConfigMap in each producer namespace that its sidecars follow: what changed since their pods were made."""

from __future__ import annotations

import msgspec

from meterfabric_operator import names
from meterfabric_operator.children.metadata import elsewhere
from meterfabric_operator.objects import Object
from meterfabric_operator.wanted import FabricFacts
from meterfabric_protocol import fabric_sidecar


def sinks(facts: FabricFacts) -> str:
    """The list of sinks, as a sidecar reads it (`meterfabric_sidecar.sinks`)."""
    return msgspec.json.encode(fabric_sidecar.sink_entries(facts.fabric.spec, facts.sinks)).decode()


def build(facts: FabricFacts, namespace: str) -> Object:
    """Optional to the sidecar: a pod starts with what it was given, and without this."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": elsewhere(facts, names.sidecars(facts.id), "sidecar", namespace),
        "data": {"sinks.json": sinks(facts), "trust.pem": facts.trust},
    }
