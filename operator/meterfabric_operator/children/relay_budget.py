"""The PodDisruptionBudget of relays: a drained node takes one at a time."""

from __future__ import annotations

from meterfabric_operator import names
from meterfabric_operator.children.relay_deployment import selector
from meterfabric_operator.objects import Object, labels, owned_by
from meterfabric_operator.wanted import FabricFacts


def build(facts: FabricFacts) -> Object:
    """One may be away; a relay that is broken anyway never holds up a drain."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {
            "name": names.relay(facts.name),
            "namespace": facts.namespace,
            "labels": labels(facts.id, "relay"),
            "ownerReferences": owned_by("MeteringFabric", facts.name, facts.uid),
        },
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": selector(facts)},
        },
    }
