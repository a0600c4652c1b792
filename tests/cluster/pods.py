"""Pods and other objects of a test's cluster, by kubectl."""

import json
import os
from typing import Any

from tests.cluster import images, versions
from tests.cluster.cluster import Cluster
from tests.cluster.wait import until

VERSION = os.environ.get("KUBERNETES") or versions.DEFAULT
"""The Kubernetes to test with."""
SECONDS = 120
"""How long a test waits for what a cluster does by itself."""


def pod(kubernetes: Cluster, name: str, arguments: list[str], **spec: Any) -> dict[str, Any]:
    """A pod of the helper program."""
    container = {"name": "main", "image": images.helper_image(kubernetes.programs["helper"]), "args": arguments}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"restartPolicy": "Never", "containers": [container], **spec},
    }


def apply(kubernetes: Cluster, *objects: dict[str, Any]) -> None:
    kubernetes.kubectl("apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, objects)))


def get(kubernetes: Cluster, kind: str, name: str) -> Any:
    return json.loads(kubernetes.kubectl("get", kind, name, "-o", "json"))


def output(kubernetes: Cluster, name: str) -> str:
    """What a pod's main container printed, once the pod has succeeded."""
    until(f"pod {name} has ended", SECONDS, lambda: _phase(kubernetes, name) in {"Succeeded", "Failed"})
    printed = kubernetes.kubectl("logs", name, "-c", "main")
    assert _phase(kubernetes, name) == "Succeeded", printed
    return printed


def _phase(kubernetes: Cluster, name: str) -> str:
    phase: str = get(kubernetes, "pod", name)["status"]["phase"]
    return phase
