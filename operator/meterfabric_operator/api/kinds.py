"""Where the API serves each kind that we touch. Written down: finding it out would ask every server at every start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from meterfabric_operator.objects import GROUP
from meterfabric_operator.settings import Settings


@dataclass(frozen=True)
class Kind:
    """A kind's API version, the plural in its paths, and whether its objects lie in namespaces."""

    api_version: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str = "", name: str = "", part: str = "") -> str:
        """The path of a collection, an object, or a subresource of one; no namespace means all of them."""
        root = "/api/v1" if self.api_version == "v1" else f"/apis/{self.api_version}"
        inside = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{inside}/{self.plural}" + (f"/{name}" if name else "") + (f"/{part}" if part else "")


KINDS: Final[dict[str, Kind]] = {
    "MeteringFabric": Kind(f"{GROUP}/v1alpha1", "meteringfabrics"),
    "MeteringSink": Kind(f"{GROUP}/v1alpha1", "meteringsinks"),
    "Namespace": Kind("v1", "namespaces", namespaced=False),
    "Pod": Kind("v1", "pods"),
    "Secret": Kind("v1", "secrets"),
    "ConfigMap": Kind("v1", "configmaps"),
    "Service": Kind("v1", "services"),
    "Deployment": Kind("apps/v1", "deployments"),
    "StatefulSet": Kind("apps/v1", "statefulsets"),
    "PodDisruptionBudget": Kind("policy/v1", "poddisruptionbudgets"),
    "NetworkPolicy": Kind("networking.k8s.io/v1", "networkpolicies"),
    "ClusterRoleBinding": Kind("rbac.authorization.k8s.io/v1", "clusterrolebindings", namespaced=False),
    "CertificateSigningRequest": Kind("certificates.k8s.io/v1", "certificatesigningrequests", namespaced=False),
    "Lease": Kind("coordination.k8s.io/v1", "leases"),
    "Event": Kind("events.k8s.io/v1", "events"),
    "MutatingWebhookConfiguration": Kind(
        "admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations", namespaced=False
    ),
}

CLUSTER_CHILDREN: Final = ("ClusterRoleBinding", "MutatingAdmissionPolicyBinding")
"""Kinds of what a fabric needs that has no namespace."""

FABRIC_CHILDREN: Final = (
    "ConfigMap",
    "Service",
    "Deployment",
    "StatefulSet",
    "PodDisruptionBudget",
    "NetworkPolicy",
    *CLUSTER_CHILDREN,
)
"""Kinds of what runs for fabrics that are watched whole. Of Secrets only metadata is (`secret_watch`)."""


def children(settings: Settings) -> tuple[str, ...]:
    """Those of them that the operator makes.

    Where namespaces are listed it has no rights beyond them, and the chart made once what has no namespace. Where the
    webhook injects there are no bindings, and the API server may not even know them.
    """
    left = set(CLUSTER_CHILDREN) if settings.namespaces else set()
    if settings.injection == "webhook":
        left.add("MutatingAdmissionPolicyBinding")
    return tuple(kind for kind in FABRIC_CHILDREN if kind not in left)


def kinds(admission_api: str) -> dict[str, Kind]:
    """All kinds; ``admission_api``: the version in which this API server serves mutating policies."""
    binding = Kind(admission_api, "mutatingadmissionpolicybindings", namespaced=False)
    return {**KINDS, "MutatingAdmissionPolicyBinding": binding}
