"""What watching told, and what is kept of it."""

from typing import Any

from meterfabric_operator.objects import DIGEST, FABRIC, SINK, Key
from meterfabric_operator.watching.handlers import Watching
from meterfabric_operator.watching.observed import Observed

DEMO = Key("MeteringFabric", "metering", "demo")


class Looking:
    """Watching, and what it made us look at."""

    def __init__(self) -> None:
        self.keys: list[Key] = []
        self.observed = Observed()
        self.watching = Watching(self.observed, self.keys.append)

    def looked(self) -> set[Key]:
        found, self.keys[:] = set(self.keys), []
        return found


def namespace(name: str, fabric: str = "") -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {FABRIC: fabric} if fabric else {}}}


def pod(name: str, *, injected: bool = True, label: str = "true", phase: str = "Running", host: bool = False) -> Any:
    return {
        "metadata": {"namespace": "shop", "name": name, "uid": name, "labels": {"meterfabric.io/inject": label}},
        "spec": {"initContainers": [{"name": "meterfabric"}] if injected else [], "hostNetwork": host},
        "status": {"phase": phase},
    }


def deployment(**change: Any) -> dict[str, Any]:
    metadata = {
        "namespace": "metering",
        "name": "demo-relay",
        "generation": 1,
        "resourceVersion": "1",
        "labels": {FABRIC: "metering.demo"},
        "annotations": {DIGEST: "d"},
    }
    status = {"replicas": 2, "readyReplicas": 1, "updatedReplicas": 2, "observedGeneration": 1}
    return {
        "kind": "Deployment",
        "metadata": metadata | change.get("metadata", {}),
        "spec": {"replicas": 2},
        "status": status | change.get("status", {}),
    }


def test_a_namespace_joins_by_its_label_and_leaves_without_it() -> None:
    looking = Looking()
    looking.watching.namespace(namespace("shop", "metering.demo"), False)
    assert looking.looked() == {DEMO}
    assert looking.observed.namespaces("metering.demo") == ("shop",)
    looking.watching.namespace(namespace("shop", "metering.other"), False)
    assert looking.looked() == {DEMO, Key("MeteringFabric", "metering", "other")}
    looking.watching.namespace(namespace("shop", "metering.other"), False)
    assert not looking.looked()
    looking.watching.namespace(namespace("shop"), True)
    assert looking.observed.namespaces("metering.other") == ()


def test_a_fabrics_own_namespace_never_joins_it() -> None:
    looking = Looking()
    looking.watching.namespace(namespace("metering", "metering.demo"), False)
    assert looking.observed.namespaces("metering.demo") == ()


def test_a_namespace_that_is_being_deleted_has_left() -> None:
    looking = Looking()
    looking.watching.namespace(namespace("shop", "metering.demo"), False)
    ending = namespace("shop", "metering.demo")
    ending["metadata"]["deletionTimestamp"] = "2026-11-24T12:00:00Z"
    looking.watching.namespace(ending, False)
    assert looking.observed.namespaces("metering.demo") == ()


def test_pods_that_meter_are_counted_with_why_one_has_no_sidecar() -> None:
    looking = Looking()
    looking.watching.namespace(namespace("shop", "metering.demo"), False)
    for each in (pod("a"), pod("b", injected=False), pod("c", injected=False, host=True), pod("d", label="false")):
        looking.watching.pod(each, False)
    found = {each.name: each.why for each in looking.observed.pods(("shop",))}
    assert found["a"] == ""
    assert "policy" in found["b"]
    assert "network" in found["c"]
    assert "d" not in found
    looking.watching.pod(pod("b", injected=False, phase="Succeeded"), False)
    looking.watching.pod(pod("c"), True)
    assert [each.name for each in looking.observed.pods(("shop",))] == ["a"]


def test_only_what_changes_something_makes_us_look() -> None:
    looking = Looking()
    looking.watching.namespace(namespace("shop", "metering.demo"), False)
    looking.watching.pod(pod("a", phase="Pending"), False)
    looking.looked()
    looking.watching.pod(pod("a", phase="Running"), False)
    assert not looking.looked()
    looking.watching.child(deployment(), False)
    assert looking.looked() == {DEMO}
    looking.watching.child(deployment(metadata={"resourceVersion": "2"}), False)
    assert not looking.looked()
    looking.watching.child(deployment(status={"readyReplicas": 2}), False)
    assert looking.looked() == {DEMO}


def test_what_somebody_changes_on_a_child_changes_its_state() -> None:
    looking = Looking()
    states = set()
    for change in (
        {},
        {"generation": 2},
        {"labels": {FABRIC: "metering.demo", "x": "y"}},
        {"ownerReferences": [{"uid": "u"}]},
        {"annotations": {}},
    ):
        looking.watching.child(deployment(metadata=change), False)
        (child,) = looking.observed.children.values()
        states.add(child.state)
    assert len(states) == 5


def test_a_sink_and_its_fabric_are_looked_at_together() -> None:
    looking = Looking()
    body = {
        "kind": "MeteringSink",
        "metadata": {"namespace": "metering", "name": "billing", "managedFields": ["long"]},
        "spec": {"fabric": "demo"},
    }
    looking.watching.sink(body, False)
    billing = Key("MeteringSink", "metering", "billing")
    assert looking.looked() == {DEMO, billing}
    assert "managedFields" not in looking.observed.sinks[billing]["metadata"]
    fabric = {"kind": "MeteringFabric", "metadata": {"namespace": "metering", "name": "demo"}, "spec": {}}
    looking.watching.fabric(fabric, False)
    assert looking.looked() == {DEMO, billing}
    child = deployment(metadata={"name": "billing-sink", "labels": {FABRIC: "metering.demo", SINK: "billing"}})
    looking.watching.child(child, False)
    assert looking.looked() == {DEMO, billing}


def test_only_requests_to_our_signer_that_wait_are_looked_at() -> None:
    looking = Looking()

    def request(name: str, signer: str = "meterfabric.io/producer", **status: Any) -> dict[str, Any]:
        return {"metadata": {"name": name}, "spec": {"signerName": signer}, "status": status}

    looking.watching.request(request("a"), False)
    looking.watching.request(request("b", "kubernetes.io/kubelet-serving"), False)
    looking.watching.request(request("c", certificate="x"), False)
    looking.watching.request(request("d", conditions=[{"type": "Denied"}]), False)
    looking.watching.request(request("e", conditions=[{"type": "Approved"}]), False)
    looking.watching.request(request("f"), True)
    assert {key.name for key in looking.looked()} == {"a", "e"}


def test_a_child_whose_label_was_changed_is_looked_at_by_whose_it_was() -> None:
    looking = Looking()
    looking.watching.child(deployment(), False)
    looking.looked()
    looking.watching.child(deployment(metadata={"labels": {FABRIC: "metering.other"}}), False)
    assert looking.looked() == {DEMO, Key("MeteringFabric", "metering", "other")}


def fabric(**status: Any) -> dict[str, Any]:
    metadata = {"namespace": "metering", "name": "demo", "uid": "f", "generation": 1, "resourceVersion": "1"}
    return {"kind": "MeteringFabric", "metadata": metadata, "spec": {}, "status": status}


def test_a_status_as_we_wrote_it_is_no_news_and_another_one_is_the_fabrics_alone() -> None:
    looking = Looking()
    looking.watching.fabric(fabric(), False)
    sink = {
        "kind": "MeteringSink",
        "metadata": {"namespace": "metering", "name": "billing"},
        "spec": {"fabric": "demo"},
    }
    looking.watching.sink(sink, False)
    looking.looked()
    # As reporting does: it writes what it wrote into what is held.
    looking.observed.fabrics[DEMO]["status"] = {"ready": 1}
    told = fabric(ready=1)
    told["metadata"]["resourceVersion"] = "2"
    looking.watching.fabric(told, False)
    assert not looking.looked()
    looking.watching.fabric(fabric(ready=2), False)
    assert looking.looked() == {DEMO}
    changed = fabric(ready=2)
    changed["metadata"]["generation"] = 2
    looking.watching.fabric(changed, False)
    assert looking.looked() == {DEMO, Key("MeteringSink", "metering", "billing")}


def test_a_sink_that_names_another_fabric_is_news_to_both() -> None:
    looking = Looking()
    body: dict[str, Any] = {"kind": "MeteringSink", "metadata": {"namespace": "metering", "name": "billing"}}
    looking.watching.sink({**body, "spec": {"fabric": "demo"}}, False)
    looking.looked()
    moved = {**body, "metadata": {**body["metadata"], "generation": 2}, "spec": {"fabric": "other"}}
    looking.watching.sink(moved, False)
    assert {key.name for key in looking.looked() if key.kind == "MeteringFabric"} == {"demo", "other"}
    assert looking.observed.sinks_of("metering", "demo") == []
    assert len(looking.observed.sinks_of("metering", "other")) == 1
