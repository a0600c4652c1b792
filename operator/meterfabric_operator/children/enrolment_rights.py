"""The right of a fabric's producer namespaces to ask for certificates: a binding of the chart's ClusterRole."""

from __future__ import annotations

from meterfabric_operator import names
from meterfabric_operator.children.metadata import elsewhere
from meterfabric_operator.objects import Object
from meterfabric_operator.wanted import FabricFacts


def build(facts: FabricFacts) -> Object:
    """Certificate requests have no namespace, so neither has the right to make them. A finalizer removes it."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": elsewhere(facts, names.cluster(facts.id), "sidecar"),
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": facts.settings.enrol_role,
        },
        "subjects": [
            {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Group",
                "name": f"system:serviceaccounts:{namespace}",
            }
            for namespace in facts.namespaces
        ],
    }
