"""What the pods of relays and sinks have in common: Pod Security "restricted", probes, spreading."""

from __future__ import annotations

from typing import Any

from meterfabric_operator.objects import Object
from meterfabric_operator.settings import Settings
from meterfabric_protocol.fabric_spec import Resources

USER = 65532
GRACE = 40
"""Seconds that a relay or worker may take to stop: its own drain of 20 and what libraries take."""


def container_security() -> Object:
    """What Pod Security "restricted" asks of a container, and a file system that nobody writes to."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def resources(wanted: Resources) -> Object:
    """Requests and limits alike."""
    both = {"cpu": wanted.cpu, "memory": wanted.memory}
    return {"requests": both, "limits": dict(both)}


def probes(port: str) -> Object:
    """Start-up may wait for a database; afterwards a process that doesn't answer for a minute is restarted."""
    return {
        "startupProbe": _get("/healthz", port, period=2, failures=150),
        "livenessProbe": _get("/healthz", port, period=10, failures=6),
        "readinessProbe": _get("/readyz", port, period=2, failures=2),
    }


def _get(path: str, port: str, *, period: int, failures: int) -> Object:
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": 5,
    }


def pod(settings: Settings, container: Object, volumes: list[Object], selector: dict[str, str], **more: Any) -> Object:
    """A pod's spec around one container. ``selector``: the labels by which its like are spread over nodes and zones."""
    made: Object = {
        "automountServiceAccountToken": False,
        # A Service called METERFABRIC-RELAY would otherwise set METERFABRIC_RELAY_PORT, which is a setting.
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": selector},
            }
            for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
        ],
        "containers": [container],
        "volumes": volumes,
        **more,
    }
    if settings.image_pull_secrets:
        made["imagePullSecrets"] = [{"name": name} for name in settings.image_pull_secrets]
    return made
