"""The ConfigMap of a fabric's trust bundle, for relays, sinks and auditors. It outlives the fabric, as records do."""

from __future__ import annotations

from meterfabric_operator import names
from meterfabric_operator.children.metadata import kept
from meterfabric_operator.objects import Object
from meterfabric_operator.wanted import FabricFacts


def build(facts: FabricFacts) -> Object:
    """The published copy of the roots that Secrets hold."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": kept(facts, names.trust(facts.name)),
        "data": {"trust.pem": facts.trust},
    }
