"""Injection on a real cluster: proven by a trial, missed when it doesn't act, made up for when it does again."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.wait import until
from tests.kubernetes.installed import METERING, SECONDS, Installed, kinds, metering, namespace, pod
from tests.kubernetes.standing import injects, remove_fabric

pytestmark = pytest.mark.cluster

NAME, SHOP = "astray", "astray-shop"
INJECTION = ("mutatingadmissionpolicies,mutatingwebhookconfigurations", "-l", "app.kubernetes.io/part-of=meterfabric")


@pytest.fixture(scope="module")
def astray(installed: Installed) -> Iterator[Installed]:
    """A fabric that asks for pods to be replaced, and a namespace that joined it."""
    fabric, _ = kinds(injection={"replace": "Evict", "evictionsPerMinute": 12})
    fabric["metadata"]["name"] = NAME
    fabric["spec"]["relay"]["replicas"] = 1
    installed.apply(fabric, namespace(SHOP, **{"meterfabric.io/fabric": f"{METERING}.{NAME}"}))
    until("injection is proven", SECONDS, lambda: injected(installed).get("reason") == "AllInjected")
    yield installed
    installed.kubectl("delete", "namespace", SHOP, "--wait=true")
    remove_fabric(installed, NAME)


def injected(installed: Installed) -> dict[str, Any]:
    return installed.condition("meteringfabric", NAME, METERING, "ProducersInjected")


def deployment(installed: Installed, replicas: int) -> dict[str, Any]:
    template = metering(installed, "web", 0, then="import time; time.sleep(3600)")
    template["spec"] |= {"restartPolicy": "Always", "terminationGracePeriodSeconds": 1}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": SHOP},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template},
    }


def pods(installed: Installed) -> dict[str, bool]:
    """Whether each of the pods has a sidecar, by UID."""
    found = json.loads(installed.kubectl("get", "pods", "-n", SHOP, "-o", "json"))["items"]
    return {each["metadata"]["uid"]: "initContainers" in each["spec"] for each in found}


def events(installed: Installed, where: str, reason: str) -> list[dict[str, Any]]:
    items = json.loads(installed.kubectl("get", "events.events.k8s.io", "-n", where, "-o", "json"))["items"]
    return [each for each in items if each["reason"] == reason]


def test_pods_made_without_a_sidecar_are_told_and_replaced_once_injection_acts_again(astray: Installed) -> None:
    astray.kubectl("delete", *INJECTION)
    try:
        bare = pod(astray, "bare", 0, SHOP, then="import time; time.sleep(3600)")
        until("pods get no sidecar", SECONDS, lambda: not injects(astray, bare))
        astray.apply(deployment(astray, 3), bare)
        until("all are made", SECONDS, lambda: list(pods(astray).values()) == [False] * 4)
        until("it is told", SECONDS, lambda: injected(astray).get("reason") == "PolicyInactive")
        assert f"namespace {SHOP}" in injected(astray)["message"]
        assert "4 pods are without a sidecar" in injected(astray)["message"]
        assert not events(astray, SHOP, "ReplacedForSidecar")
        before = set(pods(astray))
    finally:
        # By what made it: a policy that somebody else applied is in Helm's way ever after.
        astray.install()
    until(
        "those of the Deployment are replaced", SECONDS, lambda: sorted(pods(astray).values()) == [False] + [True] * 3
    )
    (left,) = (uid for uid, has in pods(astray).items() if not has)
    assert left in before
    assert len(events(astray, SHOP, "ReplacedForSidecar")) == 3
    assert {each["regarding"]["name"] for each in events(astray, SHOP, "SidecarMissing")} >= {"bare"}
    assert "1 pods are without a sidecar: astray-shop/bare" in injected(astray)["message"]
    astray.kubectl("delete", "pod", "bare", "-n", SHOP, "--grace-period=0", "--force")
    until("nothing is wrong any more", SECONDS, lambda: injected(astray).get("reason") == "AllInjected")
    mine = [each for each in events(astray, METERING, "PolicyInactive") if each["regarding"]["name"] == NAME]
    assert len(mine) == 1
    assert not [name for name in astray.names("pod", SHOP) if name.startswith("meterfabric-trial")]
