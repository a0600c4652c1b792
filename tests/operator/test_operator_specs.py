"""What an API server holds as types: what is unknown is left out and named, what is wrong is refused."""

from typing import Any

import pytest

from meterfabric_operator.specs import read_fabric, read_identity, read_policy, read_sink, unknown_fields
from meterfabric_protocol.fabric import API_VERSION, FabricError, read

POLICY = {"type": "Pods", "value": 1, "periodSeconds": 60}


def fabric(**spec: Any) -> dict[str, Any]:
    about = {"name": "demo", "namespace": "metering"}
    return {"apiVersion": API_VERSION, "kind": "MeteringFabric", "metadata": about, "spec": spec}


def sink(**spec: Any) -> dict[str, Any]:
    return {**fabric(fabric="demo", **spec), "kind": "MeteringSink"}


@pytest.mark.parametrize(
    ("newer", "older", "named"),
    [
        ({"newer": {"by": "default"}}, {}, ["spec.newer"]),
        ({"relay": {"replicas": 3, "colour": 1}}, {"relay": {"replicas": 3}}, ["spec.relay.colour"]),
        (
            {"sidecar": {"spool": {"claim": {"mode": "x"}}}},
            {"sidecar": {"spool": {"claim": {}}}},
            ["spec.sidecar.spool.claim.mode"],
        ),
        (
            {"relay": {"autoscaling": {"maxReplicas": 4, "behavior": {"scaleUp": {"policies": [{**POLICY, "x": 1}]}}}}},
            {"relay": {"autoscaling": {"maxReplicas": 4, "behavior": {"scaleUp": {"policies": [POLICY]}}}}},
            ["spec.relay.autoscaling.behavior.scaleUp.policies[0].x"],
        ),
        ({"relay": {"replicas": 3}}, {"relay": {"replicas": 3}}, []),
    ],
)
def test_a_fabric_is_read_without_what_is_unknown(
    newer: dict[str, Any], older: dict[str, Any], named: list[str]
) -> None:
    assert read_fabric(fabric(**newer)) == read(fabric(**older))
    assert unknown_fields(fabric(**newer)) == named


def test_a_sink_is_read_without_what_is_unknown() -> None:
    newer = sink(destination={"postgres": {"secretRef": {"name": "a", "version": 2}}}, newer=1)
    older = sink(destination={"postgres": {"secretRef": {"name": "a"}}})
    assert read_sink(newer) == read(older)
    assert unknown_fields(newer) == ["spec.destination.postgres.secretRef.version", "spec.newer"]


def test_a_destination_of_a_newer_version_is_refused_and_named() -> None:
    newer = sink(destination={"kafka": {}})
    with pytest.raises(FabricError, match="exactly one of file, sqlite, postgres"):
        read_sink(newer)
    assert unknown_fields(newer) == ["spec.destination.kafka"]


@pytest.mark.parametrize("spec", [{"relay": []}, {"relay": {"replicas": "many"}}, {"reconcile": "Sometimes"}])
def test_what_is_wrong_stays_wrong(spec: dict[str, Any]) -> None:
    with pytest.raises(FabricError):
        read_fabric(fabric(newer=1, **spec))


def test_of_a_spec_that_is_wrong_the_identity_is_read() -> None:
    made, problem = read_identity(
        fabric(trustDomain="example.org", identity={"onDelete": "Delete"}, delivery={"expiry": "1s"})
    )
    assert (made.spec.trust_domain, made.spec.identity.on_delete) == ("example.org", "Delete")
    assert problem is not None
    assert problem.field == "spec.delivery.expiry"


def test_an_identity_that_is_wrong_is_refused() -> None:
    with pytest.raises(FabricError, match="certificateLifetime"):
        read_identity(fabric(identity={"certificateLifetime": "1s"}))


@pytest.mark.parametrize(
    ("written", "required", "refuses"),
    [
        ({}, True, True),
        ({"required": False}, False, False),
        ({"whenFull": "ExpireOldest"}, True, False),
        ({"whenFull": "AskSomebody"}, True, True),
        ({"required": "perhaps"}, True, True),
    ],
)
def test_of_a_sink_that_can_not_be_read_its_policy_is_and_what_is_unclear_keeps_records(
    written: dict[str, Any], required: bool, refuses: bool
) -> None:
    made = read_policy(sink(destination={"kafka": {}}, **written))
    assert (made.metadata.name, made.spec.required, made.spec.refuses) == ("demo", required, refuses)
    with pytest.raises(FabricError):
        read_sink(sink(destination={"kafka": {}}, **written))
