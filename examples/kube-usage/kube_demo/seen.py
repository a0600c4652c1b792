"""What the cluster says, as far as the demo needs it. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

SIDECAR = "meterfabric"

Object = Mapping[str, Any]


def relay_in_use(status: Object) -> str | None:
    """The address of the relay that a sidecar's newest log goes through, by its page /status; None where none does."""
    used = [sink["relay"] for log in status["logs"][-1:] for sink in log["sinks"].values() if sink["relay"]]
    return used[0] if used else None


def pod_at(pods: Iterable[Object], address: str) -> str | None:
    """The name of the pod that has this address."""
    return next((each["metadata"]["name"] for each in pods if each["status"].get("podIP") == address), None)


def without_sidecar(pods: Iterable[Object]) -> list[str]:
    """Names of pods that have none."""
    return [
        each["metadata"]["name"]
        for each in pods
        if not any(one["name"] == SIDECAR for one in each["spec"].get("initContainers", []))
    ]


def containers(pod: Object) -> str:
    """A pod's containers in a line, the one that was put in told from the others."""
    own = [each["name"] for each in pod["spec"]["containers"]]
    put_in = [each["name"] for each in pod["spec"].get("initContainers", []) if each["name"] == SIDECAR]
    return f"{pod['metadata']['name']}: {', '.join([*own, *(f'{name} (put in)' for name in put_in)])}"


def troubles(pods: Iterable[Object]) -> list[str]:
    """A line for each container that can't start, with what its node says: an image that isn't there, for instance."""
    found = []
    for pod in pods:
        status = pod.get("status") or {}
        statuses = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
        for each in statuses:
            waiting = (each.get("state") or {}).get("waiting") or {}
            if waiting.get("reason", "PodInitializing") not in ("PodInitializing", "ContainerCreating"):
                name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
                found.append(f"{name}: {waiting['reason']}: {waiting.get('message', '')}".rstrip(": "))
        for each in status.get("conditions") or []:
            if each["type"] == "PodScheduled" and each["status"] == "False":
                name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
                found.append(f"{name}: {each.get('reason', 'not scheduled')}: {each.get('message', '')}")
    return found


def lacking(nodes: Iterable[Object], wanted: Iterable[str]) -> list[str]:
    """Those of the images that a node doesn't say it has."""
    held = [{name for image in node["status"].get("images", []) for name in image.get("names") or []} for node in nodes]
    return [name for name in wanted if not all(name in names for names in held)]
