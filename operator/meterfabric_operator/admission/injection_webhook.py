"""The MutatingWebhookConfiguration that has the API server ask `injector` about pods, where no policy acts.

Of two replicas each has an entry of its own. The second one is asked only where the pod still has no sidecar after the
first: so a replica that is dead, stuck or cut off costs a pod time, at most `TIMEOUT`, and not its sidecar.
"""

from __future__ import annotations

from collections.abc import Sequence

from meterfabric_operator.admission.changes import MATCHED, RULE
from meterfabric_operator.objects import FABRIC, GROUP, INJECT, Object

PATH = "/inject"
TIMEOUT = 5
"""Seconds that a pod may have to wait for a replica."""


def build(name: str, namespace: str, services: Sequence[str], where: Sequence[Object | str] = ()) -> Object:
    """``services``: one of each replica, in ``namespace``. ``where``: more that namespaces must match.

    Webhooks are asked in the order of their configurations' names, after all policies. Istio's must come later, as it
    does after the policy, since it reads the ports that it is to leave alone; so ``name`` begins with a digit.
    """
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": f"0.{name}", "labels": {"app.kubernetes.io/part-of": "meterfabric"}},
        "webhooks": [_entry(number, namespace, service, where) for number, service in enumerate(services, 1)],
    }


def _entry(number: int, namespace: str, service: str, where: Sequence[Object | str]) -> Object:
    return {
        "name": f"replica-{number}.inject.{GROUP}",
        "admissionReviewVersions": ["v1"],
        # The operator adds caBundle.
        "clientConfig": {"service": {"namespace": namespace, "name": service, "path": PATH, "port": 443}},
        # As the policy: a pod without a sidecar is seen and told.
        "failurePolicy": "Ignore",
        "matchPolicy": "Equivalent",
        "reinvocationPolicy": "Never",
        "sideEffects": "None",
        "timeoutSeconds": TIMEOUT,
        "rules": [RULE],
        "namespaceSelector": {"matchExpressions": [{"key": FABRIC, "operator": "Exists"}, *where]},
        "objectSelector": {"matchLabels": {INJECT: "true"}},
        "matchConditions": MATCHED,
    }
