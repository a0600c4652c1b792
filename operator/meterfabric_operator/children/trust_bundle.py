"""The ConfigMap of a fabric's trust bundle, for relays, sinks and auditors. It outlives the fabric, as records do."""

from __future__ import annotations

from meterfabric_operator import names
from meterfabric_operator.objects import Object, labels
from meterfabric_operator.wanted import FabricFacts


def build(facts: FabricFacts) -> Object:
    """No owner: whether it goes with the fabric is what `spec.identity.onDelete` says."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names.trust(facts.name),
            "namespace": facts.namespace,
            "labels": labels(facts.id, "identity"),
        },
        "data": {"trust.pem": facts.trust},
    }
