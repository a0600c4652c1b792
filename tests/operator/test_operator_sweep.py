"""What is removed before a release goes, in which order, and what stays."""

import asyncio
import dataclasses
from collections.abc import Mapping
from typing import Any, cast

import pytest

from meterfabric_operator.api.cluster import ApiError, Cluster
from meterfabric_operator.api.kinds import FABRIC_CHILDREN, kinds
from meterfabric_operator.objects import FINALIZER, Key, Object, key_of, labels
from meterfabric_operator.sweep import sweep
from tests.operator.facts import SETTINGS
from tests.operator.world import AUTHORITY, DEMO, world

OPERATOR = Key("Deployment", SETTINGS.namespace, "meterfabric-operator")
SELECTOR = {"app.kubernetes.io/component": "operator"}


def made(kind: str, name: str, namespace: str = "metering", component: str = "relay") -> Object:
    metadata = {"name": name, "labels": labels("metering.demo", component), "resourceVersion": "1"}
    return {"kind": kind, "metadata": metadata | ({"namespace": namespace} if namespace else {})}


FABRIC: Object = {
    "kind": "MeteringFabric",
    "metadata": {
        "name": "demo",
        "namespace": "metering",
        "resourceVersion": "1",
        "finalizers": ["example.org/theirs", FINALIZER],
    },
}
RUNNING: Object = {
    "kind": "Deployment",
    "metadata": {"name": OPERATOR.name, "namespace": OPERATOR.namespace},
    "spec": {"replicas": 2, "selector": {"matchLabels": SELECTOR}},
}


class Server:
    """An API server's objects, and what was done to them. A stopped operator's pod is there for another look or two."""

    def __init__(self, *objects: Object, unknown: tuple[str, ...] = ()) -> None:
        self.kinds = kinds("admissionregistration.k8s.io/v1")
        self.objects = {key_of(each): each for each in objects}
        self.unknown = unknown
        self.looks = 2
        self.listed: set[tuple[str, str]] = set()
        self.done: list[str] = []

    async def get(self, key: Key) -> Object | None:
        return self.objects.get(key)

    async def list(self, kind: str, selector: str = "", namespace: str = "") -> list[Object]:
        if kind in self.unknown:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        self.listed.add((kind, namespace))
        if kind == "Pod":
            assert selector == "app.kubernetes.io/component=operator"
            self.looks -= 1
            if not self.looks:
                self.done.append("stopped")
            return [{"metadata": {"name": "stopping"}}] * (self.looks > 0)
        wanted = dict([selector.split("=")]) if selector else {}
        return [
            {name: value for name, value in each.items() if name != "kind"}
            for key, each in self.objects.items()
            if key.kind == kind
            and namespace in ("", key.namespace)
            and wanted.items() <= each["metadata"].get("labels", {}).items()
        ]

    async def patch(self, key: Key, body: Mapping[str, Any], part: str = "") -> Object:
        held = self.objects[key]
        self.done.append(f"patched {key}")
        held = {**held, **{each: {**held.get(each, {}), **body[each]} for each in body}}
        self.objects[key] = held
        return held

    async def delete(self, key: Key) -> None:
        self.done.append(f"removed {key}")
        del self.objects[key]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meterfabric_operator.sweep._LOOK_EVERY", 0.0)


def run(server: Server, namespaces: tuple[str, ...] = ()) -> None:
    settings = dataclasses.replace(SETTINGS, deployment=OPERATOR.name, namespaces=namespaces)
    asyncio.run(sweep(cast(Cluster, server), settings))


def test_nothing_is_removed_before_the_operators_last_pod_has_stopped() -> None:
    server = Server(RUNNING, made("Deployment", "demo-relay"), FABRIC)
    run(server)
    assert server.done == [
        f"patched {OPERATOR}",
        "stopped",
        "removed Deployment metering/demo-relay",
        "patched MeteringFabric metering/demo",
    ]
    assert server.objects[OPERATOR]["spec"]["replicas"] == 0


def test_what_was_made_goes_and_what_proves_old_records_stays() -> None:
    trust = made("ConfigMap", "demo-trust", component="identity")
    theirs: Object = {"kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}}
    server = Server(
        made("ConfigMap", "meterfabric.metering.demo", "shop", "sidecar"),
        made("MutatingAdmissionPolicyBinding", "meterfabric.metering.demo", "", "sidecar"),
        trust,
        theirs,
        FABRIC,
    )
    run(server)
    assert set(server.objects) == {key_of(each) for each in (trust, theirs, FABRIC)}
    assert server.objects[key_of(FABRIC)]["metadata"]["finalizers"] == ["example.org/theirs"]


def test_doing_it_again_does_no_harm() -> None:
    server = Server(made("Service", "demo-relay"))
    run(server)
    server.done.clear()
    run(server)
    assert not server.done


def test_kinds_that_are_gone_already_hold_nothing_up() -> None:
    server = Server(made("Service", "demo-relay"), unknown=("MeteringFabric", "MutatingAdmissionPolicyBinding"))
    run(server)
    assert not server.objects


def test_where_namespaces_are_listed_only_those_are_looked_at() -> None:
    server = Server(made("Service", "demo-relay"), made("Service", "other", "elsewhere"), FABRIC)
    run(server, ("metering", "shop"))
    assert {namespace for _, namespace in server.listed} == {"metering", "shop"}
    assert Key("Service", "elsewhere", "other") in server.objects
    assert Key("Service", "metering", "demo-relay") not in server.objects


async def test_a_sweep_leaves_what_people_own_and_nothing_else() -> None:
    demo = world()
    await demo.reconcile()
    selector = {"matchLabels": {"app": "operator"}}
    demo.put("Deployment", "operator", "meterfabric-system", spec={"replicas": 2, "selector": selector}, status={})
    settings = dataclasses.replace(SETTINGS, deployment="operator")
    await sweep(cast(Cluster, demo.api), settings)
    assert demo.api.held[Key("Deployment", "meterfabric-system", "operator")]["spec"]["replicas"] == 0
    left = {key for key in demo.api.held if key.kind in FABRIC_CHILDREN}
    assert left == {
        Key("ConfigMap", "metering", "demo-trust"),
        Key("Deployment", "meterfabric-system", "operator"),
    }
    assert demo.api.held[DEMO]["metadata"]["finalizers"] == []
    assert {AUTHORITY, Key("Secret", "metering", "billing-sink")} <= set(demo.api.held)
