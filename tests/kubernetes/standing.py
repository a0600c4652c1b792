"""What stands in a cluster: what the operator made, which replica of it acts, which pods run."""

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from tests.cluster.wait import until
from tests.kubernetes.installed import METERING, RELEASE, SECONDS, SHOP, SYSTEM, Installed, is_ready, kinds

OURS = "app.kubernetes.io/managed-by=meterfabric-operator"
DEMO = f"meterfabric.io/fabric={METERING}.demo"
OPERATOR = "app.kubernetes.io/component=operator"


def children(installed: Installed) -> dict[tuple[str, str, str], str]:
    """Kind, namespace and name of everything that the operator made for demo and watches, with its UID.

    Not of others: what a test's own fabric had may be going still.
    """
    kinds = ",".join(installed.child_kinds).lower()
    found = {}
    for each in json.loads(installed.kubectl("get", kinds, "-A", "-l", f"{OURS},{DEMO}", "-o", "json"))["items"]:
        metadata = each["metadata"]
        found[each["kind"], metadata.get("namespace", ""), metadata["name"]] = metadata["uid"]
    return found


def has_sidecar(made: dict[str, Any]) -> bool:
    """Whether a pod has ours."""
    return any(each["name"] == "meterfabric" for each in made["spec"].get("initContainers", []))


def injects(installed: Installed, made: dict[str, Any]) -> bool:
    """Whether this pod would get a sidecar now. An API server takes a moment to know a policy that came or went."""
    return has_sidecar(installed.dry(made))


def lease(installed: Installed) -> dict[str, Any]:
    """What the operator's lease says."""
    found = installed.get("lease", f"{RELEASE}-operator", SYSTEM) or {"spec": {}}
    spec: dict[str, Any] = found["spec"]
    return spec


def holder(installed: Installed) -> str:
    """Which replica acts."""
    return str(lease(installed).get("holderIdentity", ""))


def scale_operator(installed: Installed, replicas: int) -> None:
    """Return once so many pods of it are there; that they are ready is waited for by what comes next."""
    installed.kubectl("scale", f"deployment/{RELEASE}-operator", "-n", SYSTEM, f"--replicas={replicas}")
    until(f"{replicas} operators run", SECONDS, lambda: len(installed.names("pod", SYSTEM, OPERATOR)) == replicas)


def delete_children(installed: Installed, chosen: Iterable[tuple[str, str, str]]) -> None:
    """Delete these, by kind, namespace and name, and return once they are gone; who is gone already is gone."""
    places: dict[str, list[str]] = defaultdict(list)
    for kind, where, name in chosen:
        places[where].append(f"{kind.lower()}/{name}")
    for where, found in places.items():
        installed.kubectl("delete", *found, *(["-n", where] if where else []), "--ignore-not-found", "--wait=true")


def pods(installed: Installed, component: str) -> dict[str, str]:
    """The relays or sinks that there are, by name, with their image."""
    chosen = ("-n", METERING, "-l", f"app.kubernetes.io/component={component},{OURS}", "-o", "json")
    listed = json.loads(installed.kubectl("get", "pods", *chosen))["items"]
    return {each["metadata"]["name"]: each["spec"]["containers"][0]["image"] for each in listed}


def settle(installed: Installed) -> None:
    """Return once relays and sinks are all of the newest version and ready: nothing is being rolled."""
    for name in installed.names("deployment", METERING, OURS):
        command = ("rollout", "status", f"deployment/{name}", "-n", METERING, f"--timeout={SECONDS}s")
        installed.kubectl(*command)


def remove_fabric(installed: Installed, name: str) -> None:
    """Remove a test's own fabric and the sink of its name, if any, and what outlives them: who they were."""
    for kind in ("meteringsink", "meteringfabric"):
        installed.kubectl("delete", kind, name, "-n", METERING, "--ignore-not-found", f"--timeout={SECONDS}s")
    of_it = ("-l", f"meterfabric.io/fabric={METERING}.{name}")
    everything = ",".join((*installed.child_kinds, "secret")).lower()
    installed.kubectl("delete", "secret,configmap", "-n", METERING, *of_it)
    until(f"nothing of {name} is left", SECONDS, lambda: not installed.kubectl("get", everything, "-A", *of_it).strip())


def tidy(installed: Installed) -> None:
    """End what a file's tests left running, also those that failed, and have operator and fabric as `set_up` did.

    Pods are asked to end, and end beside what comes next: whoever sends for ever doesn't send into the next test.
    """
    workloads = "deployments,statefulsets,cronjobs,jobs,pods"
    installed.kubectl("delete", workloads, "--all", "-n", SHOP, "--wait=false")
    for other in set(installed.names("meteringfabric", METERING)) - {"demo"}:
        remove_fabric(installed, other)
    installed.apply(*kinds())
    scale_operator(installed, 2)
    until("the fabric is ready", SECONDS, lambda: is_ready(installed))
    settle(installed)
