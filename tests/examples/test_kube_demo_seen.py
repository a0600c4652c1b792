"""What the demo reads out of what the cluster says."""

from typing import Any

from kube_demo import seen


def log(relay: str | None) -> dict[str, Any]:
    return {"sinks": {"billing": {"relay": relay}}}


def pod(name: str, *init: str, **status: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "agent"}], "initContainers": [{"name": each} for each in init]}
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": spec, "status": status}


def test_the_relay_in_use_is_that_of_the_newest_log() -> None:
    assert seen.relay_in_use({"logs": [log("10.0.0.1"), log("10.0.0.2")]}) == "10.0.0.2"
    assert seen.relay_in_use({"logs": [log("10.0.0.1"), log(None)]}) is None
    assert seen.relay_in_use({"logs": []}) is None


def test_a_relay_is_found_by_its_address() -> None:
    pods = [pod("a"), pod("b", podIP="10.0.0.2")]
    assert seen.pod_at(pods, "10.0.0.2") == "b"
    assert seen.pod_at(pods, "10.0.0.3") is None


def test_a_pod_without_a_sidecar_is_told_from_one_with() -> None:
    assert seen.without_sidecar([pod("with", "meterfabric", "other"), pod("other", "other"), pod("none")]) == [
        "other",
        "none",
    ]
    assert seen.containers(pod("with", "meterfabric")) == "with: agent, meterfabric (put in)"


def test_why_a_pod_does_not_start_is_its_nodes_word() -> None:
    pulling = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such host"}}}
    creating = {"state": {"waiting": {"reason": "ContainerCreating"}}}
    unplaced = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    found = seen.troubles(
        [
            pod("pulls", containerStatuses=[pulling]),
            pod("begins", containerStatuses=[creating]),
            pod("waits", conditions=[unplaced]),
            pod("runs", initContainerStatuses=[{"state": {"running": {}}}]),
        ]
    )
    assert found == ["shop/pulls: ImagePullBackOff: no such host", "shop/waits: Unschedulable: 0/1 nodes"]


def test_an_image_is_lacking_unless_every_node_has_it() -> None:
    nodes = [{"status": {"images": [{"names": ["a:1", "b:1"]}]}}, {"status": {"images": [{"names": ["a:1"]}]}}]
    assert seen.lacking(nodes, ["a:1", "b:1"]) == ["b:1"]
    assert seen.lacking([{"status": {}}], ["a:1"]) == ["a:1"]
