"""Both ways in which pods get their sidecars, on a real cluster: they make the same pods; then the webhook the whole
way, and what becomes of pods when its replicas hang, die, are away, and get another certificate."""

import json
import os
import re
import signal
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.wait import until
from tests.kubernetes.installed import METERING, RELEASE, SECONDS, SHOP, SYSTEM, Installed, is_ready, pod
from tests.kubernetes.standing import has_sidecar, injects

pytestmark = [pytest.mark.cluster, pytest.mark.long]

Object = dict[str, Any]

SIDECAR = "meterfabric"
INJECTOR = "app.kubernetes.io/component=injector"
CONFIGURATION = f"0.{SYSTEM}.{RELEASE}-sidecar"
EXCLUDED = "traffic.sidecar.istio.io/exclude{}Ports"
AMOUNTS = {"cpu": "50m", "memory": "64Mi"}
NOWHERE = {"kubernetes.io/hostname": "nowhere"}
"""Selects no node: what is made of a pod shows without its running."""


def varied(installed: Installed) -> dict[str, Object]:
    """Pods as people write them, and as Istio leaves them."""

    def made(name: str, metadata: Object | None = None, **spec: Any) -> Object:
        body = pod(installed, name, 1)
        body["metadata"] |= metadata or {}
        body["spec"] |= spec
        return body

    idle = {"image": installed.dataplane, "command": ["sleep", "600"]}
    exact = {"requests": AMOUNTS, "limits": AMOUNTS}
    data = {"name": "data", "emptyDir": {}}
    guaranteed = made("guaranteed")
    guaranteed["spec"]["containers"][0]["resources"] = exact
    mounting = made("mounting", volumes=[data])
    mounting["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    proxies = [{"name": "istio-init", **idle}, {"name": "istio-proxy", **idle, "restartPolicy": "Always"}]
    ports = {EXCLUDED.format("Outbound"): "3306,5432", "sidecar.istio.io/status": "{}"}
    return {
        "plain": made("plain"),
        "with its own init containers": made("initial", initContainers=[{"name": "first", **idle}]),
        "with its own volumes": mounting,
        "guaranteed": guaranteed,
        "without a token": made("tokenless", automountServiceAccountToken=False),
        "in no hurry to end": made("slow", terminationGracePeriodSeconds=600),
        "with Istio's native sidecar": made("istio", {"annotations": ports}, initContainers=proxies),
        "with all of Istio's ports": made(
            "ports", {"annotations": {EXCLUDED.format(way): "1" for way in ("Inbound", "Outbound")}}
        ),
        "on the node's network": made("host", hostNetwork=True),
        "without the label": made("unasked", {"labels": {}}),
        "elsewhere": made("elsewhere", {"namespace": "default"}),
    }


def owners(installed: Installed) -> dict[str, Object]:
    """What makes pods, by the pods that it makes."""
    body = pod(installed, "owned", 1)
    template = {"metadata": {"labels": body["metadata"]["labels"]}, "spec": {**body["spec"], "nodeSelector": NOWHERE}}
    endless = {**template, "spec": {**template["spec"], "restartPolicy": "Always"}}
    job = {"backoffLimit": 0, "template": template}
    selector = {"matchLabels": {"app": "owned"}}

    def made(version: str, kind: str, **spec: Any) -> Object:
        return {
            "apiVersion": version,
            "kind": kind,
            "metadata": {"name": kind.lower(), "namespace": SHOP},
            "spec": spec,
        }

    return {
        "of a Job": made("batch/v1", "Job", **job),
        "of a CronJob": made("batch/v1", "CronJob", schedule="0 0 1 1 *", jobTemplate={"spec": job}),
        "of a StatefulSet": made("apps/v1", "StatefulSet", serviceName="owned", selector=selector, template=endless),
        "of a Deployment": made("apps/v1", "Deployment", selector=selector, template=endless),
    }


CASES = [
    *("plain", "with its own init containers", "with its own volumes", "guaranteed", "without a token"),
    *("in no hurry to end", "with Istio's native sidecar", "with all of Istio's ports"),
    *("on the node's network", "without the label", "elsewhere"),
    *("of a Job", "of a CronJob", "of a StatefulSet", "of a Deployment"),
]
LEFT = ("on the node's network", "without the label", "elsewhere")


def acts(installed: Installed) -> bool:
    return injects(installed, pod(installed, "asked", 1))


def pods_of(installed: Installed) -> dict[str, Object]:
    """The pods that controllers made, by the name of the object of which they made them."""
    found = json.loads(installed.kubectl("get", "pods", "-n", SHOP, "-l", "app=owned", "-o", "json"))["items"]
    return {re.sub("-.*", "", each["metadata"]["generateName"]): each for each in found}


def owned(installed: Installed) -> dict[str, Object]:
    """The pods that controllers make of objects, which go again."""
    wanted = owners(installed)
    installed.apply(*wanted.values())
    installed.kubectl("create", "job", "now", "--from=cronjob/cronjob", "-n", SHOP)
    made = {name: "now" if each["kind"] == "CronJob" else each["metadata"]["name"] for name, each in wanted.items()}
    until("each made its pod", SECONDS, lambda: set(pods_of(installed)) == set(made.values()))
    found, names = pods_of(installed), {*made.values(), "cronjob"}
    installed.kubectl("delete", "job,cronjob,statefulset,deployment", *names, "-n", SHOP, "--ignore-not-found")
    until("they are gone", SECONDS, lambda: not pods_of(installed))
    return {name: found[each] for name, each in made.items()}


def form(body: Object) -> Object:
    """All of a pod but what is another's in each: names that are made up, UIDs, times, who wrote which field."""
    metadata = {
        name: each
        for name, each in body["metadata"].items()
        if name not in ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid")
    }
    text = json.dumps({"metadata": metadata, "spec": body["spec"], "qosClass": body["status"]["qosClass"]})
    if "generateName" in metadata:
        text = text.replace(metadata["name"], "NAME")
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UID", text)
    made: Object = json.loads(re.sub(r"kube-api-access-\w{5}", "kube-api-access", text))
    return made


def all_forms(installed: Installed) -> dict[str, Object]:
    made = {name: form(installed.dry(body)) for name, body in varied(installed).items()}
    return made | {name: form(each) for name, each in owned(installed).items()}


@pytest.fixture(scope="module")
def by_policy(installed: Installed) -> dict[str, Object]:
    """The pods as the policy makes them."""
    installed.install(mode="policy")
    until("the policy acts", SECONDS, lambda: acts(installed))
    return all_forms(installed)


@pytest.fixture(scope="module")
def webhook(installed: Installed, by_policy: dict[str, Object]) -> Iterator[Installed]:
    """Switched to the webhook, whose certificate lives two minutes; afterwards as it was."""
    installed.install("--set", "injection.webhook.certificateLifetime=120", mode="webhook")
    yield installed
    installed.install()
    until("the fabric is ready", SECONDS, lambda: is_ready(installed))


@pytest.fixture(scope="module")
def by_webhook(webhook: Installed) -> dict[str, Object]:
    """The same pods as the webhook has them made. It acts once helm says that it is installed: nothing is awaited."""
    return all_forms(webhook)


@pytest.fixture(scope="module")
def first_trusted(webhook: Installed) -> set[str]:
    """What the API server trusted when all of this began."""
    return trusted(webhook)


def trusted(installed: Installed) -> set[str]:
    """The certificates of a bundle; both replicas' entries have the same."""
    found = installed.get("mutatingwebhookconfiguration", CONFIGURATION)
    assert found is not None
    (bundle,) = {each["clientConfig"]["caBundle"] for each in found["webhooks"]}
    return set(re.findall(r"-----BEGIN[^-]*-----[^-]*-----END", b64decode(bundle).decode()))


def test_the_switch_leaves_nothing_of_the_policy(webhook: Installed, first_trusted: set[str]) -> None:
    kinds = "mutatingadmissionpolicies,mutatingadmissionpolicybindings"
    ours = "app.kubernetes.io/part-of=meterfabric"
    until("nothing is left", SECONDS, lambda: not webhook.kubectl("get", kinds, "-l", ours, "-o", "name").strip())


@pytest.mark.parametrize("case", CASES)
def test_both_ways_make_the_same_pod(case: str, by_policy: dict[str, Object], by_webhook: dict[str, Object]) -> None:
    assert by_webhook[case] == by_policy[case]
    assert has_sidecar(by_webhook[case]) == (case not in LEFT)


def test_what_the_pod_excluded_from_istio_stays_excluded(by_webhook: dict[str, Object]) -> None:
    given = by_webhook["with Istio's native sidecar"]["metadata"]["annotations"]
    assert given[EXCLUDED.format("Outbound")] == "3306,5432,4700"
    assert given[EXCLUDED.format("Inbound")] == "8290"


def emitting(installed: Installed, name: str, proxies: list[Object]) -> Object:
    """A pod that sends ten records at once, and forty when it is told to end."""
    then = f"""
import signal, sys
def end(*_):
    for number in range(10, 50):
        event = {{"specversion": "1.0", "id": str(number), "source": "{name}", "type": "usage", "data": {{}}}}
        headers = {{"Content-Type": "application/cloudevents+json"}}
        url = "http://127.0.0.1:8280/api/v1/events"
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(event).encode(), headers)) as answer:
            assert answer.status == 204
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("waits", flush=True)
signal.pause()
"""
    made = pod(installed, name, 10, then=then)
    made["spec"]["terminationGracePeriodSeconds"] = 30
    made["spec"]["initContainers"] = proxies
    return made


def proxy(installed: Installed) -> Object:
    """A native sidecar that ends at once when it is told to, as Istio's does once nothing is connected."""
    program = "import signal; signal.signal(signal.SIGTERM, lambda *_: exit()); signal.pause()"
    command = ["python3", "-c", program]
    return {"name": "istio-proxy", "image": installed.dataplane, "command": command, "restartPolicy": "Always"}


def test_a_pod_with_another_native_sidecar_before_or_after_ours_drains(webhook: Installed) -> None:
    webhook.apply(emitting(webhook, "before", [proxy(webhook)]))
    # Istio's injector comes after ours, and puts its proxy first.
    turned = webhook.dry(emitting(webhook, "behind", [proxy(webhook)]))
    turned["spec"]["initContainers"].reverse()
    turned["metadata"] = {name: turned["metadata"][name] for name in ("name", "namespace", "labels", "annotations")}
    webhook.apply(turned)
    for name, first in (("before", SIDECAR), ("behind", "istio-proxy")):
        until(f"{name} waits", SECONDS, lambda name=name: "waits" in webhook.said(name, SHOP))
        found = webhook.get("pod", name, SHOP)
        assert found is not None
        assert found["spec"]["initContainers"][0]["name"] == first
    webhook.kubectl("delete", "pod", "before", "behind", "-n", SHOP, "--wait=false")
    for name in ("before", "behind"):
        until(f"all records of {name} are there", SECONDS, lambda name=name: webhook.records(name) == 50)


def test_records_arrive_and_are_audited_and_a_guaranteed_pod_stays_so(webhook: Installed) -> None:
    made = pod(webhook, "exact", 40)
    made["spec"]["containers"][0]["resources"] = {"requests": AMOUNTS, "limits": AMOUNTS}
    webhook.apply(made)
    until("all records are there", SECONDS, lambda: webhook.records("exact") == 40)
    found = webhook.get("pod", "exact", SHOP)
    assert found is not None
    assert has_sidecar(found)
    assert found["status"]["qosClass"] == "Guaranteed"
    trust = ("--trust", "/etc/meterfabric/trust/trust.pem", "--json")
    program = 'exec meterfabric audit --sink "$METERFABRIC_SINK_URL" "$@"'
    worker = ("exec", "-n", METERING, "deploy/billing-sink", "--", "sh", "-c", program, "audit")
    assert json.loads(webhook.kubectl(*worker, *trust))["whole"] is True


# Replicas that can't answer


def process(installed: Installed, replica: int) -> int:
    """The process of a replica, on this machine."""
    (name,) = installed.names("pod", SYSTEM, f"{INJECTOR},meterfabric.io/replica={replica}")
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if f"HOSTNAME={name}".encode() in environment and b"meterfabric-operator-injector" in command:
            return int(folder.name)
    raise AssertionError(f"{name} has no process")


def restarts(installed: Installed) -> int:
    path = "{range .items[*]}{.status.containerStatuses[0].restartCount} {end}"
    found = installed.kubectl("get", "pods", "-n", SYSTEM, "-l", INJECTOR, "-o", f"jsonpath={path}")
    return sum(map(int, found.split()))


def all_ready(installed: Installed) -> bool:
    path = "{.items[*].status.readyReplicas}"
    found = installed.kubectl("get", "deployments", "-n", SYSTEM, "-l", INJECTOR, "-o", f"jsonpath={path}")
    return found.split() == ["1", "1"]


def test_certificates_change_without_a_restart_and_without_a_pod_that_isnt_injected(
    webhook: Installed, first_trusted: set[str]
) -> None:
    def changed() -> bool:
        assert acts(webhook)
        return not trusted(webhook) & first_trusted

    until("the API server trusts other certificates", SECONDS * 2, changed)
    assert restarts(webhook) == 0


def test_a_replica_that_hangs_costs_time_and_no_sidecar(webhook: Installed) -> None:
    hanging = process(webhook, 1)
    os.kill(hanging, signal.SIGSTOP)
    try:
        assert acts(webhook)
    finally:
        os.kill(hanging, signal.SIGCONT)


@pytest.mark.parametrize("replica", [1, 2])
def test_a_replica_that_is_killed_while_pods_are_made_costs_no_sidecar(webhook: Installed, replica: int) -> None:
    until("both replicas are ready", SECONDS, lambda: all_ready(webhook))
    before = restarts(webhook)
    os.kill(process(webhook, replica), signal.SIGKILL)

    def back() -> bool:
        assert acts(webhook)
        return restarts(webhook) > before and all_ready(webhook)

    until("it is back", SECONDS, back)


def test_without_any_replica_pods_start_without_a_sidecar_and_are_named(webhook: Installed) -> None:
    def scale(replicas: int) -> None:
        webhook.kubectl("scale", "deployments", "-n", SYSTEM, "-l", INJECTOR, f"--replicas={replicas}")

    def told() -> str:
        return str(webhook.condition("meteringfabric", "demo", METERING, "ProducersInjected").get("message", ""))

    scale(0)
    until("no replica is left", SECONDS, lambda: not webhook.names("pod", SYSTEM, INJECTOR))
    bare = pod(webhook, "bare", 0)
    bare["spec"]["containers"][0]["command"] = ["sleep", "600"]
    webhook.apply(bare)
    try:
        until("it is named", SECONDS, lambda: f"{SHOP}/bare" in told())
        found = webhook.get("pod", "bare", SHOP)
        assert found is not None
        assert not has_sidecar(found)
    finally:
        scale(1)
        webhook.kubectl("delete", "pod", "bare", "-n", SHOP, "--grace-period=0", "--force")
    until("pods are injected again", SECONDS, lambda: acts(webhook))


def test_the_switch_back_leaves_nothing_of_the_webhook(webhook: Installed) -> None:
    webhook.install(mode="policy")
    until("the policy acts", SECONDS, lambda: acts(webhook))
    kinds = "mutatingwebhookconfigurations,clusterroles,clusterrolebindings"
    there = "deployments,pods,services,secrets,serviceaccounts,roles,rolebindings,poddisruptionbudgets"

    def left() -> str:
        return webhook.kubectl("get", kinds, "-l", INJECTOR, "-o", "name") + webhook.kubectl(
            "get", there, "-n", SYSTEM, "-l", INJECTOR, "-o", "name"
        )

    until("nothing is left", SECONDS, lambda: not left().strip())
    assert webhook.get("mutatingwebhookconfiguration", CONFIGURATION) is None
