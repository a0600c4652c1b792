"""Names of what runs for a fabric or a sink, in one place so that they can't meet."""

from __future__ import annotations

RELAY_PORT = 4700
RELAY_PAGES = 4780
SINK_PAGES = 4781
SIDECAR_PAGES = 8290
API_PORT = 443

SIDECAR = "meterfabric"
"""The sidecar's name among a pod's containers."""


def relay(fabric: str) -> str:
    """Deployment, Service, PodDisruptionBudget, NetworkPolicy, service account and Secret of a fabric's relays."""
    return f"{fabric}-relay"


def authority(fabric: str) -> str:
    """The Secret of a fabric's roots with their keys."""
    return f"{fabric}-authority"


def history(fabric: str) -> str:
    """The Secret with the certificates of all roots that a fabric ever had."""
    return f"{fabric}-history"


def trust(fabric: str) -> str:
    """The ConfigMap of a fabric's trust bundle."""
    return f"{fabric}-trust"


def sink(name: str) -> str:
    """Workload, NetworkPolicy and Secret of a sink."""
    return f"{name}-sink"


def sidecars(fabric: str) -> str:
    """The ConfigMap in a producer namespace that its sidecars follow. ``fabric``: NAMESPACE.NAME."""
    return f"meterfabric.{fabric}"


def cluster(fabric: str) -> str:
    """What a fabric needs that has no namespace: the policy binding, the right to enrol. ``fabric``: NAMESPACE.NAME."""
    return f"meterfabric.{fabric}"
