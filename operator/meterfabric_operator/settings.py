"""The operator's settings, filled once at start."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class LeasePart:
    """Which of several replicas acts. Seconds."""

    name: str = "meterfabric-operator"
    duration: float = 15.0
    """After so long without a renewal another replica may take over."""
    renew: float = 5.0
    """How often it is renewed; the holder stops acting when two thirds of `duration` passed without one."""


@dataclass(frozen=True)
class WebhookPart:
    """What the chart made for the webhook that injects, where no policy does; nothing where one does."""

    configuration: str = ""
    """The MutatingWebhookConfiguration."""
    secret: str = ""
    """In the operator's own namespace: the certificate and its key."""
    hosts: tuple[str, ...] = ()
    """The names by which API servers call the replicas."""
    lifetime: float = 90 * 86_400.0
    """Seconds that a certificate is good for."""


@dataclass(frozen=True)
class Settings:
    """Names, seconds."""

    namespace: str
    """The operator's own."""
    image: str
    """Of relays, sinks and sidecars."""
    deployment: str = ""
    """The operator's own Deployment, which a sweep stops first."""
    identity: str = ""
    """This replica's name, its pod's; the host's name where it is empty."""
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    """Names of Secrets, which must be in the namespaces of fabrics."""
    namespaces: tuple[str, ...] = ()
    """Where fabrics are served; empty for everywhere."""
    fabric_namespaces: tuple[str, ...] = ()
    """Those of them where fabrics are, and with them Secrets of ours."""
    cluster_domain: str = "cluster.local"
    injection: Literal["policy", "webhook"] = "policy"
    """How pods get their sidecars."""
    webhook: WebhookPart = field(default_factory=WebhookPart)
    policy: str = "meterfabric-sidecar"
    """The MutatingAdmissionPolicy that the chart makes."""
    admission_api: str = "admissionregistration.k8s.io/v1"
    """The version in which the API server serves MutatingAdmissionPolicyBindings."""
    enrol_role: str = "meterfabric-enrol"
    """The ClusterRole that the chart makes for pods that meter."""
    resync: float = 300.0
    """How often everything is looked at although nothing changed."""
    workers: int = 4
    """Reconciliations at a time."""
    lease: LeasePart = field(default_factory=LeasePart)
    http_host: str = "127.0.0.1"
    http_port: int = 8080
    log_level: str = "info"
