"""The kinds a person writes: what is right is read with its defaults, what is wrong is told by field and value."""

from typing import Any

import pytest

from meterfabric_protocol import fabric as f
from meterfabric_protocol.notation import amount, seconds, thousandths

FABRIC: dict[str, Any] = {
    "apiVersion": f.API_VERSION,
    "kind": "MeteringFabric",
    "metadata": {"name": "demo", "namespace": "metering"},
    "spec": {},
}
SINK: dict[str, Any] = {
    "apiVersion": f.API_VERSION,
    "kind": "MeteringSink",
    "metadata": {"name": "billing"},
    "spec": {"fabric": "demo", "destination": {"sqlite": {}}},
}


def with_spec(base: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {**base, "spec": {**base["spec"], **spec}}


def scaled(**autoscaling: Any) -> dict[str, Any]:
    return with_spec(FABRIC, relay={"autoscaling": autoscaling})


def test_a_fabric_of_defaults_is_read() -> None:
    made = f.read(FABRIC)
    assert isinstance(made, f.MeteringFabric)
    assert made.id == "metering.demo"
    assert seconds(made.spec.delivery.expiry) == 7 * 86_400
    assert amount(made.spec.sidecar.spool.quota) == 1 << 30
    assert (made.spec.relay.replicas, made.spec.relay.count) == (None, 2)


def test_a_sink_of_defaults_is_required_and_refuses_when_full() -> None:
    made = f.read(SINK)
    assert isinstance(made, f.MeteringSink)
    assert made.spec.required
    assert made.spec.refuses


@pytest.mark.parametrize(
    ("text", "value"),
    [("168h", 604_800.0), ("1h30m", 5_400.0), ("250ms", 0.25), ("2m", 120.0), ("1.5s", 1.5), ("0s", 0.0)],
)
def test_durations(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize(
    ("text", "value"), [("1Gi", 1 << 30), ("500M", 500_000_000), ("4096", 4_096), ("1.5Ki", 1_536), ("2Ti", 2 << 40)]
)
def test_quantities(text: str, value: int) -> None:
    assert amount(text) == value


@pytest.mark.parametrize(("text", "value"), [("0.1", 100), ("50m", 50), ("0.05", 50), ("2", 2_000), ("0.001", 1)])
def test_thousandths(text: str, value: int) -> None:
    assert thousandths(text) == value


@pytest.mark.parametrize(
    ("document", "field", "says"),
    [
        ({**FABRIC, "apiVersion": "v1"}, "apiVersion", "'v1'"),
        ({**FABRIC, "kind": "MeteringFabrik"}, "kind", "MeteringFabrik"),
        ({**FABRIC, "metadata": {"name": "Demo"}}, "metadata.name", "regex"),
        (with_spec(FABRIC, relays=3), "spec", "relays"),
        (with_spec(FABRIC, relay={"replicas": 0}), "spec.relay.replicas", ">= 1"),
        (with_spec(FABRIC, relay={"replicas": "two"}), "spec.relay.replicas", "int"),
        (with_spec(FABRIC, relay={"memory": "1Mi"}), "spec.relay.memory", "at least 8Mi"),
        (scaled(minReplicas=9, maxReplicas=3), "spec.relay.autoscaling.minReplicas", "is 9, at most maxReplicas, 3"),
        (scaled(maxReplicas=1), "spec.relay.autoscaling.minReplicas", "is 2, at most maxReplicas, 1"),
        (scaled(), "spec.relay.autoscaling", "maxReplicas"),
        (scaled(maxReplicas=3, tolerance="1.5"), "spec.relay.autoscaling.tolerance", "less than 1"),
        (scaled(maxReplicas=3, targetUtilization=0), "spec.relay.autoscaling.targetUtilization", ">= 1"),
        (
            scaled(maxReplicas=3, behavior={"scaleDown": {"policies": []}}),
            "spec.relay.autoscaling.behavior.scaleDown.policies",
            "length",
        ),
        (with_spec(FABRIC, delivery={"expiry": "5s"}), "spec.delivery.expiry", "at least 60s"),
        (with_spec(FABRIC, delivery={"expiry": "soon"}), "spec.delivery.expiry", "is 'soon'"),
        (with_spec(FABRIC, sidecar={"spool": {"quota": "2Mi"}}), "spec.sidecar.spool.quota", "16 batches"),
        (with_spec(FABRIC, sidecar={"batch": {"maxBytes": "1Gi"}}), "spec.sidecar.batch.maxBytes", "8Mi"),
        (with_spec(FABRIC, sidecar={"compression": "gzip"}), "spec.sidecar.compression", "gzip"),
        (with_spec(FABRIC, limits={"recordBytes": "1G"}), "spec.limits.recordBytes", "4Mi"),
        (with_spec(SINK, destination={}), "spec.destination", "exactly one"),
        (with_spec(SINK, destination={"file": {}, "sqlite": {}}), "spec.destination", "not 2"),
        (with_spec(SINK, destination={"postgres": {"url": "mysql://x"}}), "spec.destination.postgres.url", "regex"),
        (with_spec(SINK, workers=2), "spec.workers", "one worker"),
        (with_spec(SINK, required=False, whenFull="Refuse"), "spec.whenFull", "optional"),
        ({**SINK, "spec": {"destination": {"file": {}}}}, "spec", "fabric"),
        (with_spec(SINK, destination={"postgres": {}}), "spec.destination.postgres", "exactly one"),
        (with_spec(FABRIC, identity={"certificateLifetime": "1m"}), "spec.identity.certificateLifetime", "10m"),
    ],
)
def test_what_is_wrong_is_told_by_field_and_value(document: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(f.FabricError) as caught:
        f.read(document)
    assert caught.value.field == field
    assert says in caught.value.problem
    assert str(document["metadata"]["name"]) in caught.value.where


def test_a_url_is_not_told_for_it_may_hold_a_password() -> None:
    with pytest.raises(f.FabricError) as caught:
        f.read(with_spec(SINK, destination={"postgres": {"url": "mysql://me:secret@db"}}))
    assert "secret" not in str(caught.value)
