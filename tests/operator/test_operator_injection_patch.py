"""What the webhook changes in a pod; that the policy changes the same is held on a real API server."""

from typing import Any

import pytest

from meterfabric_operator.admission import injection_patch, sidecar_values
from meterfabric_operator.objects import Object
from tests.operator.facts import facts

EXCLUDED = "traffic.sidecar.istio.io/exclude{}Ports"


def made(**spec: Any) -> Object:
    """A fabric as the operator writes its status."""
    return {
        "metadata": {"namespace": "metering", "name": "demo"},
        "status": {"sidecar": sidecar_values.build(facts(**spec))},
    }


def patched(pod: Object, fabric: Object) -> Object:
    """The pod with the operations carried out (RFC 6902 section 4.1, of which nothing but `add` is used)."""
    for operation in injection_patch.build(pod, fabric, "image:1", "IfNotPresent"):
        assert operation["op"] == "add"
        *path, last = (token.replace("~1", "/").replace("~0", "~") for token in operation["path"].split("/")[1:])
        where: Any = pod
        for token in path:
            where = where[token]
        if isinstance(where, list):
            where.insert(len(where) if last == "-" else int(last), operation["value"])
        else:
            where[last] = operation["value"]
    return pod


def plain() -> Object:
    return {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "main"}]}}


def test_a_plain_pod_gets_a_sidecar_its_volumes_time_to_drain_and_marks() -> None:
    pod = patched(plain(), made())
    (sidecar,) = pod["spec"]["initContainers"]
    assert (sidecar["name"], sidecar["image"], sidecar["restartPolicy"]) == ("meterfabric", "image:1", "Always")
    assert {each["name"] for each in sidecar["volumeMounts"]} == {each["name"] for each in pod["spec"]["volumes"]}
    assert pod["spec"]["terminationGracePeriodSeconds"] > 30
    assert pod["metadata"]["annotations"] == {
        "meterfabric.io/injected": "metering.demo",
        EXCLUDED.format("Outbound"): "4700",
        EXCLUDED.format("Inbound"): "8290",
    }
    assert pod["spec"]["containers"] == [{"name": "main"}]


def test_what_a_pod_has_of_its_own_stays_and_comes_after_the_sidecar() -> None:
    pod = plain()
    pod["metadata"]["annotations"] = {EXCLUDED.format("Outbound"): "5432", "mine": "1"}
    pod["spec"] |= {
        "initContainers": [{"name": "first"}],
        "volumes": [{"name": "data"}],
        "terminationGracePeriodSeconds": 7,
    }
    alone = patched(plain(), made())["spec"]["terminationGracePeriodSeconds"]
    pod = patched(pod, made())
    assert [each["name"] for each in pod["spec"]["initContainers"]] == ["meterfabric", "first"]
    assert pod["spec"]["volumes"][0] == {"name": "data"}
    assert pod["spec"]["terminationGracePeriodSeconds"] == alone - 30 + 7
    assert pod["metadata"]["annotations"][EXCLUDED.format("Outbound")] == "5432,4700"
    assert pod["metadata"]["annotations"][EXCLUDED.format("Inbound")] == "8290"
    assert pod["metadata"]["annotations"]["mine"] == "1"


@pytest.mark.parametrize("storage_class", [None, "fast"])
def test_a_spool_on_a_claim_is_made_with_the_pod(storage_class: str | None) -> None:
    claim = {} if storage_class is None else {"storageClassName": storage_class}
    pod = patched(plain(), made(sidecar={"spool": {"claim": claim}}))
    spec = pod["spec"]["volumes"][0]["ephemeral"]["volumeClaimTemplate"]["spec"]
    assert spec.get("storageClassName") == storage_class


def test_a_fabric_that_was_never_reconciled_gives_nothing() -> None:
    fabric = {"metadata": {"namespace": "metering", "name": "demo"}}
    assert injection_patch.build(plain(), fabric, "image:1", "Always") == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, True),
        ({"hostNetwork": False, "initContainers": [{"name": "other"}]}, True),
        ({"hostNetwork": True}, False),
        ({"initContainers": [{"name": "other"}, {"name": "meterfabric"}]}, False),
    ],
)
def test_pods_of_the_nodes_network_and_those_that_have_a_sidecar_are_left(spec: Object, expected: bool) -> None:
    assert injection_patch.concerns({"spec": spec}) is expected
