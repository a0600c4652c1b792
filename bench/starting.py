"""How long a cluster takes from what a person applies to what works, beside what Kubernetes itself takes.

A pod with a sidecar and the same pod without one start in turn, first with the operator, then without any: its
Deployment is scaled to 0, and what those pods send is delivered only when it is back.
"""

from __future__ import annotations

import asyncio
import statistics
import time

from bench import cluster
from bench.apiserver import ApiServer, connected
from bench.report import progress, say, spread
from meterfabric_operator.objects import INJECT, Object
from tests.cluster.wait import until
from tests.kubernetes.installed import METERING, RELEASE, SECONDS, SHOP, SYSTEM, Installed, kinds, pod, set_up

ROUNDS = 7
RECORDS = 20


def measure() -> None:
    """Print the times, each the median of several with their spread."""
    with cluster.running() as installed:
        set_up(installed)
        # The sidecar as a fabric has it that doesn't say how large it is: its processor is what it starts by.
        installed.apply(*kinds(sidecar={}))
        asyncio.run(_measure(installed))


async def _measure(installed: Installed) -> None:
    async with connected(installed.kubernetes) as api:
        _tell("fabric_ready", [await _fabric(api, number) for number in range(ROUNDS)], "applied until Ready")
        fabric = await api.get("MeteringFabric", METERING, "demo")
        cpu = fabric["spec"]["sidecar"]["resources"]["cpu"]
        await api.until("MeteringFabric", METERING, "demo", lambda body: bool(body["status"]["sidecar"]["cpu"] == cpu))
        say("sidecar_cpu", cpu, "", "its request and limit; the default")
        await _pods(installed, api, "")
        progress("without the operator")
        _scale(installed, 0)
        await _pods(installed, api, "_operator_away")
        installed.apply(pod(installed, "meanwhile", RECORDS))
        until("the pod has sent", SECONDS, lambda: installed.said("meanwhile", SHOP).strip() == "sent")
        say("records_accepted_operator_away", RECORDS, "", f"{installed.records('meanwhile')} of them delivered")
        begun = time.monotonic()
        _scale(installed, 1)
        until("they are delivered", SECONDS, lambda: installed.records("meanwhile") == RECORDS)
        say("delivered_after_operator_is_back", time.monotonic() - begun, "s", "from its Deployment's scaling on")


async def _fabric(api: ApiServer, number: int) -> float:
    """Seconds from applying a fabric and its sink until the fabric is Ready; both are removed again."""
    name = f"round-{number}"
    made = [{**each, "metadata": {"name": name, "namespace": METERING}} for each in kinds()]
    made[1]["spec"] = {**made[1]["spec"], "fabric": name}
    begun = time.monotonic()
    for each in made:
        await api.create(each)
    await api.until("MeteringFabric", METERING, name, _is_ready)
    taken = time.monotonic() - begun
    for each in reversed(made):
        await api.delete(each["kind"], METERING, name)
    return taken


async def _pods(installed: Installed, api: ApiServer, when: str) -> None:
    plain, injected = [], []
    names = when.replace("_", "-")
    for number in range(ROUNDS):
        plain.append(await _pod(installed, api, f"plain{names}-{number}", {}))
        injected.append(await _pod(installed, api, f"injected{names}-{number}", {INJECT: "true"}))
    _tell(f"pod_ready_plain{when}", [ready for ready, _ in plain], "created until Ready, without a sidecar: the peer")
    _tell(f"pod_ready_injected{when}", [ready for ready, _ in injected], "the same pod with its sidecar")
    _tell(f"sidecar_ready{when}", [first for _, first in injected], "created until it accepts records")


async def _pod(installed: Installed, api: ApiServer, name: str, labels: dict[str, str]) -> tuple[float, float]:
    """Seconds from creating a pod until it is Ready, and until its sidecar is, if it has one; it is removed again."""
    container = {
        "name": "meter",
        "image": installed.dataplane,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", "import time; time.sleep(3600)"],
    }
    body: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": SHOP, "labels": labels},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    }
    begun = time.monotonic()
    made = await api.create(body)
    assert bool(made["spec"].get("initContainers")) == bool(labels), "the policy doesn't do as it should"
    first = begun
    if labels:
        first = await api.until("Pod", SHOP, name, _has_started)
    ready = await api.until("Pod", SHOP, name, _is_ready)
    await api.delete("Pod", SHOP, name, now=True)
    return ready - begun, first - begun


def _is_ready(body: Object) -> bool:
    conditions = body.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _has_started(body: Object) -> bool:
    return any(each.get("started") for each in body.get("status", {}).get("initContainerStatuses", []))


def _scale(installed: Installed, replicas: int) -> None:
    installed.kubectl("scale", "-n", SYSTEM, f"deployment/{RELEASE}-operator", f"--replicas={replicas}")
    if not replicas:
        until("the operator is gone", SECONDS, lambda: not cluster.operator_pods(installed))


def _tell(name: str, values: list[float], note: str) -> None:
    say(name, statistics.median(values), "s", f"{spread(values)}; {note}")
