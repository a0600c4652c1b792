"""The binding by which the chart's MutatingAdmissionPolicy acts on the pods of one fabric's namespaces."""

from __future__ import annotations

from meterfabric_operator import names
from meterfabric_operator.children.metadata import elsewhere
from meterfabric_operator.objects import FABRIC, INJECT, Object
from meterfabric_operator.wanted import FabricFacts


def build(facts: FabricFacts) -> Object:
    """The namespace's label says which fabric, the pod's whether at all. The fabric is the policy's parameter."""
    return {
        "apiVersion": facts.settings.admission_api,
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": elsewhere(facts, names.cluster(facts.id), "sidecar"),
        "spec": {
            "policyName": facts.settings.policy,
            "paramRef": {
                "name": facts.name,
                "namespace": facts.namespace,
                "parameterNotFoundAction": "Allow",
            },
            "matchResources": {
                "namespaceSelector": {
                    "matchLabels": {FABRIC: facts.id},
                    # Whoever may make pods beside the relays would otherwise be a producer too.
                    "matchExpressions": [
                        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [facts.namespace]}
                    ],
                },
                "objectSelector": {"matchLabels": {INJECT: "true"}},
            },
        },
    }
