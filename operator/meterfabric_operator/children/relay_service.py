"""The headless Service whose addresses are the relays that are ready: how everybody finds them."""

from __future__ import annotations

from meterfabric_operator import names
from meterfabric_operator.children.metadata import of_fabric
from meterfabric_operator.children.relay_deployment import selector
from meterfabric_operator.objects import Object
from meterfabric_operator.wanted import FabricFacts


def url(facts: FabricFacts) -> str:
    """Where relays are looked for. The dot at the end spares every question the pod's search domains."""
    host = f"{names.relay(facts.name)}.{facts.namespace}.svc.{facts.settings.cluster_domain}."
    return f"dns://{host}:{names.RELAY_PORT}"


def build(facts: FabricFacts) -> Object:
    """No address of its own: producers choose a relay themselves."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": of_fabric(facts, names.relay(facts.name), "relay"),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "None",
            "selector": selector(facts),
            "ports": [
                {"name": "relay", "port": names.RELAY_PORT, "targetPort": "relay", "protocol": "TCP"},
                {"name": "pages", "port": names.RELAY_PAGES, "targetPort": "pages", "protocol": "TCP"},
            ],
        },
    }
