"""The operator with a thousand fabrics and five thousand pods that meter: memory, time, processor, requests.

What is left out: nothing of the fabrics runs (`crowd`), so no sink is asked for books, no pod asks for a certificate,
and the API server has no other work. The operator is a pod of its Deployment's template, since no controller runs.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
import urllib.request
from collections.abc import Callable

from bench import cluster, processes
from bench.apiserver import ApiServer, connected, summed
from bench.crowd import Crowd
from bench.report import progress, say, spread
from meterfabric_operator.objects import Object
from tests.cluster.wait import until
from tests.kubernetes.installed import RELEASE, SECONDS, SYSTEM, Installed, is_ready, set_up

FABRICS = int(os.environ.get("FABRICS", "1000"))
PODS = 5 * FABRICS
CHANGES = 15
QUIET = 60
_SETTLED = 5.0
_HOURS = 3600.0
_CONTROLLERS = "kube-controller-manager"
_FLOW = "bench-operator"
_QUEUE, _LOOKS = "meterfabric_operator_queue", "meterfabric_operator_reconcile_seconds_count"


def measure() -> None:
    """Print what one operator takes with one fabric and with many."""
    with cluster.running() as installed:
        set_up(installed)
        until("the fabric is ready", SECONDS, lambda: is_ready(installed))
        installed.kubectl("scale", "-n", SYSTEM, f"deployment/{RELEASE}-operator", "--replicas=0")
        until("the operator is gone", SECONDS, lambda: not cluster.operator_pods(installed))
        installed.kubernetes.stop(_CONTROLLERS)
        try:
            asyncio.run(_measure(installed))
        finally:
            installed.kubernetes.start(_CONTROLLERS)


class _Operator:
    """One that runs as a pod by itself."""

    def __init__(self, installed: Installed, api: ApiServer, name: str) -> None:
        self._installed = installed
        self._api = api
        self._name = name

    async def start(self) -> float:
        """Seconds from creating its pod until it is Ready: it leads, and knows everything."""
        deployment = await self._api.get("Deployment", SYSTEM, f"{RELEASE}-operator")
        template = deployment["spec"]["template"]
        metadata = {**template["metadata"], "name": self._name, "namespace": SYSTEM}
        begun = time.monotonic()
        await self._api.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
        ready = await self._api.until("Pod", SYSTEM, self._name, _is_ready)
        pod = await self._api.get("Pod", SYSTEM, self._name)
        self.process = cluster.process_of(pod, "meterfabric-operator")
        port = self._installed.kubernetes.forward(f"{pod['status']['podIP']}:8080")
        self._pages = f"http://127.0.0.1:{port}"
        return ready - begun

    async def stop(self) -> None:
        """Stop it, and wait until it has."""
        await self._api.delete("Pod", SYSTEM, self._name)
        await self._api.until(
            "Pod", SYSTEM, self._name, lambda body: body["metadata"].get("deletionTimestamp") is not None
        )
        until("the operator is gone", SECONDS, lambda: not cluster.operator_pods(self._installed))

    async def settle(self, looks: int = 0) -> float:
        """When the last of at least so many looks was done and nothing waited any more, by the monotonic clock."""
        last, since = -1.0, time.monotonic()
        deadline = since + _HOURS
        while time.monotonic() < deadline:
            page = await asyncio.to_thread(self._metrics)
            done = summed(page, _LOOKS, {})
            if done != last or summed(page, _QUEUE, {}):
                last, since = done, time.monotonic()
            elif done >= looks and time.monotonic() - since > _SETTLED:
                return since
            await asyncio.sleep(0.25)
        raise TimeoutError("the operator has not done looking")

    def counter(self, name: str) -> float:
        """The sum of one of its metrics."""
        return summed(self._metrics(), name, {})

    def _metrics(self) -> list[str]:
        with urllib.request.urlopen(f"{self._pages}/metrics", timeout=30) as answer:
            return list(answer.read().decode().splitlines())


async def _measure(installed: Installed) -> None:
    crowd = Crowd(FABRICS, PODS)
    async with connected(installed.kubernetes) as api:
        await _count_requests(api)
        operator = _Operator(installed, api, "operator-first")
        say("operator_start_1", await operator.start(), "s", "one fabric: pod created until Ready")
        await operator.settle()
        await _idle(api, operator, "1")
        progress(f"making {FABRICS} fabrics and {PODS} pods")
        begun = time.monotonic()
        await crowd.make_namespaces(api)
        await crowd.make_fabrics(api)
        await operator.settle(2 * FABRICS)
        await crowd.be_ready(api)
        say(
            "operator_made_children",
            await operator.settle() - begun,
            "s",
            f"{FABRICS} fabrics and sinks applied at once",
        )
        await crowd.make_pods(api)
        await operator.settle()
        say("operator_children", int(operator.counter("meterfabric_operator_children")))
        await _changes(api, crowd, "")
        await _idle(api, operator, str(FABRICS))
        await operator.stop()
        progress("a cold start")
        operator = _Operator(installed, api, "operator-second")
        begun = time.monotonic()
        say(f"operator_start_{FABRICS}", await operator.start(), "s", "pod created until Ready: everything is known")
        done = await operator.settle(2 * FABRICS)
        applied = int(operator.counter("meterfabric_operator_applied_total"))
        say(f"operator_all_looked_at_{FABRICS}", done - begun, "s", f"from its start; {applied} objects applied again")
        cluster.say_memory(f"operator_memory_{FABRICS}_started", operator.process)
        await _changes(api, crowd, "_after_start")


async def _changes(api: ApiServer, crowd: Crowd, when: str) -> None:
    """Change fabrics one after the other: until the relays' Deployment has it, and until the status says so."""
    children, told = [], []
    for number in range(0, crowd.fabrics, max(1, crowd.fabrics // CHANGES)):
        namespace, name = crowd.fabric(number)
        before = await api.get("MeteringFabric", namespace, name)
        wanted = before["spec"]["relay"]["replicas"] % 3 + 1
        begun = time.monotonic()
        made = await api.merge("MeteringFabric", namespace, name, {"spec": {"relay": {"replicas": wanted}}})
        child = api.until("Deployment", namespace, f"{name}-relay", _has_replicas(wanted))
        status = api.until("MeteringFabric", namespace, name, _has_seen(made["metadata"]["generation"]))
        changed, seen = await asyncio.gather(child, status)
        children.append(changed - begun)
        told.append(seen - begun)
    most = f"{spread(children)}; a fabric's change until its child has it, {crowd.fabrics} fabrics, {crowd.pods} pods"
    say(f"operator_change{when}", statistics.median(children), "s", most)
    say(f"operator_change_told{when}", statistics.median(told), "s", f"{spread(told)}; until status.observedGeneration")


def _has_replicas(wanted: int) -> Callable[[Object], bool]:
    return lambda body: bool(body["spec"]["replicas"] == wanted)


def _has_seen(generation: int) -> Callable[[Object], bool]:
    return lambda body: bool(body.get("status", {}).get("observedGeneration") == generation)


async def _idle(api: ApiServer, operator: _Operator, size: str) -> None:
    """What it takes while nothing changes."""
    progress(f"idle for {QUIET} s")
    used, asked = processes.cpu_seconds(operator.process), await _requests(api)
    await asyncio.sleep(QUIET)
    used, asked = processes.cpu_seconds(operator.process) - used, await _requests(api) - asked
    say(f"operator_idle_cpu_{size}", used / QUIET * 1000, "millicores", f"{QUIET} s; fabrics: {size}")
    say(f"operator_idle_requests_{size}", asked / QUIET, "/s", "as the API server counts them")
    cluster.say_memory(f"operator_memory_{size}", operator.process)


async def _count_requests(api: ApiServer) -> None:
    """Have the API server count what the operator asks: a flow of its own at the priority that it has anyway."""
    subject = {"kind": "ServiceAccount", "serviceAccount": {"namespace": SYSTEM, "name": f"{RELEASE}-operator"}}
    every = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}
    spec = {
        "priorityLevelConfiguration": {"name": "workload-low"},
        "matchingPrecedence": 1000,
        "distinguisherMethod": {"type": "ByUser"},
        "rules": [{"subjects": [subject], "resourceRules": [every]}],
    }
    kind = {"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema"}
    await api.create({**kind, "metadata": {"name": _FLOW}, "spec": spec})


async def _requests(api: ApiServer) -> float:
    return await api.counter("apiserver_flowcontrol_dispatched_requests_total", flow_schema=_FLOW)


def _is_ready(body: Object) -> bool:
    conditions = body.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
