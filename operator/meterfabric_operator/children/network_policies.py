"""Who may speak with relays and sinks. Only in the fabric's own namespace: users' namespaces are theirs."""

from __future__ import annotations

from meterfabric_operator import names
from meterfabric_operator.children import relay_deployment
from meterfabric_operator.children.metadata import of_fabric, of_sink
from meterfabric_operator.objects import FABRIC, SINK, Object
from meterfabric_operator.wanted import FabricFacts, SinkFacts


def for_relays(facts: FabricFacts) -> Object:
    """Records come from namespaces that joined and from the fabric's sinks; a relay itself calls nobody."""
    producers = {"namespaceSelector": {"matchLabels": {FABRIC: facts.id}}}
    sinks = {"podSelector": {"matchLabels": {FABRIC: facts.id, "app.kubernetes.io/component": "sink"}}}
    return _policy(
        of_fabric(facts, names.relay(facts.name), "relay"),
        {
            "podSelector": {"matchLabels": relay_deployment.selector(facts)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"from": [producers, sinks], "ports": [{"port": names.RELAY_PORT, "protocol": "TCP"}]},
                {"ports": [{"port": names.RELAY_PAGES, "protocol": "TCP"}]},
            ],
            "egress": [],
        },
    )


def for_sink(facts: SinkFacts) -> Object:
    """Nobody calls a sink but who reads its pages. Where its database is isn't ours to know, so it may call anybody."""
    return _policy(
        of_sink(facts),
        {
            "podSelector": {"matchLabels": {FABRIC: facts.of.id, SINK: facts.name}},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"port": names.SINK_PAGES, "protocol": "TCP"}]}],
        },
    )


def _policy(metadata: Object, spec: Object) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": spec,
    }
