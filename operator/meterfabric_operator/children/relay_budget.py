"""The PodDisruptionBudget of relays: a drained node takes one at a time."""

from __future__ import annotations

from meterfabric_operator import names
from meterfabric_operator.children.metadata import of_fabric
from meterfabric_operator.children.relay_deployment import selector
from meterfabric_operator.objects import Object
from meterfabric_operator.wanted import FabricFacts


def build(facts: FabricFacts) -> Object:
    """One may be away; a relay that is broken anyway never holds up a drain."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": of_fabric(facts, names.relay(facts.name), "relay"),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": selector(facts)},
        },
    }
