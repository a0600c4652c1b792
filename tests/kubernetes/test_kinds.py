"""A real API server takes what is right with its defaults, and refuses what is wrong with a word on what to write."""

import copy
import json
import subprocess
from typing import Any

import pytest
import yaml

from meterfabric_protocol.fabric import API_VERSION, MeteringFabric, MeteringSink, read
from tests.cluster.cluster import Cluster
from tests.kubernetes.installed import ROOT

pytestmark = pytest.mark.cluster

FABRIC: dict[str, Any] = {
    "apiVersion": API_VERSION,
    "kind": "MeteringFabric",
    "metadata": {"name": "demo", "namespace": "default"},
}
SINK: dict[str, Any] = {
    "apiVersion": API_VERSION,
    "kind": "MeteringSink",
    "metadata": {"name": "billing", "namespace": "default"},
    "spec": {"fabric": "demo", "destination": {"postgres": {"secretRef": {"name": "db"}}}},
}


def fabric(**spec: Any) -> dict[str, Any]:
    return {**FABRIC, "spec": spec}


def autoscaled(**autoscaling: Any) -> dict[str, Any]:
    return fabric(relay={"autoscaling": autoscaling})


def behaving(**behavior: Any) -> dict[str, Any]:
    return autoscaled(maxReplicas=4, behavior=behavior)


def sink(**spec: Any) -> dict[str, Any]:
    return {**SINK, "spec": {**SINK["spec"], **spec}}


def named(base: dict[str, Any], name: str) -> dict[str, Any]:
    return {**base, "metadata": {**base["metadata"], "name": name}}


def served(kubernetes: Cluster, document: dict[str, Any], *options: str) -> dict[str, Any]:
    """What the API server would keep."""
    text = json.dumps(document)
    found = kubernetes.kubectl("create", "--dry-run=server", "-o", "json", *options, "-f", "-", stdin=text)
    made = json.loads(found)
    assert isinstance(made, dict)
    return made


def refusal(kubernetes: Cluster, document: dict[str, Any]) -> str:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        served(kubernetes, document, "--validate=strict")
    return str(caught.value.stderr)


def test_the_example_is_taken(kubernetes: Cluster) -> None:
    for document in yaml.safe_load_all((ROOT / "examples" / "fabric.yaml").read_text()):
        document["metadata"]["namespace"] = "default"
        served(kubernetes, document)


def test_defaults_are_those_of_the_types(kubernetes: Cluster) -> None:
    import msgspec

    made = read(served(kubernetes, FABRIC))
    assert isinstance(made, MeteringFabric)
    assert made.spec == MeteringFabric(metadata=made.metadata).spec
    found = served(kubernetes, sink())
    made_sink = read(found)
    assert isinstance(made_sink, MeteringSink)
    plain = msgspec.to_builtins(made_sink.spec)
    assert {name: plain[name] for name in found["spec"] if name != "destination"} == {
        name: value for name, value in found["spec"].items() if name != "destination"
    }


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (fabric(relays=3), 'unknown field "spec.relays"'),
        (fabric(relay={"replicas": 0}), "greater than or equal to 1"),
        (fabric(relay={"replicas": 101}), "less than or equal to 100"),
        (fabric(relay={"replicas": "two"}), "must be of type integer"),
        (fabric(relay={"memory": "1Mi"}), "relay.memory: at least 8Mi"),
        (fabric(relay={"memory": "lots"}), "spec.relay.memory"),
        (fabric(relay={"memory": "300Mi"}), "relay.resources.memory: at least relay.memory and 64Mi more"),
        (autoscaled(), "spec.relay.autoscaling.maxReplicas: Required value"),
        (autoscaled(maxReplicas=101), "less than or equal to 100"),
        (autoscaled(maxReplicas=1), "relay.autoscaling.minReplicas: at most maxReplicas"),
        (autoscaled(maxReplicas=4, minReplicas=0), "greater than or equal to 1"),
        (autoscaled(maxReplicas=4, targetUtilization=101), "less than or equal to 100"),
        (autoscaled(maxReplicas=4, tolerance="10%"), "spec.relay.autoscaling.tolerance"),
        (autoscaled(maxReplicas=4, tolerance="1.5"), "relay.autoscaling.tolerance: less than 1"),
        (autoscaled(maxReplicas=4, metrics=[]), 'unknown field "spec.relay.autoscaling.metrics"'),
        (behaving(scaleDown={"stabilizationWindowSeconds": 3_601}), "less than or equal to 3600"),
        (behaving(scaleUp={"selectPolicy": "Most"}), 'supported values: "Max", "Min", "Disabled"'),
        (behaving(scaleUp={"policies": []}), "should have at least 1 items"),
        (behaving(scaleUp={"policies": [{"type": "Pods", "value": 1}]}), "periodSeconds: Required value"),
        (
            behaving(scaleUp={"policies": [{"type": "Nodes", "value": 1, "periodSeconds": 15}]}),
            'supported values: "Pods", "Percent"',
        ),
        (
            behaving(scaleDown={"policies": [{"type": "Pods", "value": 1, "periodSeconds": 1_801}]}),
            "less than or equal to 1800",
        ),
        (fabric(relay={"maxConnections": 20_000}), "less than or equal to 18000"),
        (fabric(relay={"resources": {"cpu": "fast"}}), "spec.relay.resources.cpu"),
        (fabric(delivery={"expiry": "5s"}), "delivery.expiry: at least 60s, or Never"),
        (fabric(delivery={"expiry": "never"}), "spec.delivery.expiry"),
        (fabric(delivery={"expiry": "7d"}), "spec.delivery.expiry"),
        (fabric(delivery={"receiptTimeout": "1ms"}), "delivery.receiptTimeout: from 100ms to 5m"),
        (fabric(delivery={"drain": "3h"}), "delivery.drain: at most 1h"),
        (fabric(sidecar={"spool": {"quota": "2Mi"}}), "at least 16 times sidecar.batch.maxBytes"),
        (fabric(sidecar={"spool": {"quota": "-1Gi"}}), "spec.sidecar.spool.quota"),
        (fabric(sidecar={"spool": {"dedupRecords": 10}}), "greater than or equal to 1000"),
        (fabric(sidecar={"spool": {"claim": {"storageClassName": ""}}}), "storageClassName"),
        (fabric(sidecar={"batch": {"maxBytes": "1Gi"}}), "sidecar.batch.maxBytes: from 4Ki to 8Mi"),
        (fabric(sidecar={"batch": {"maxRecords": 100_000}}), "less than or equal to 65536"),
        (fabric(sidecar={"batch": {"maxDelay": "2s"}}), "sidecar.batch.maxDelay: at most 1s"),
        (fabric(sidecar={"compression": "gzip"}), 'supported values: "none", "zstd"'),
        (fabric(injection={"replace": "Always"}), 'supported values: "Never", "Evict"'),
        (fabric(injection={"evictionsPerMinute": 0}), "greater than or equal to 1"),
        (fabric(sidecar={"image": "evil:1"}), 'unknown field "spec.sidecar.image"'),
        (fabric(limits={"recordBytes": "5Mi"}), "limits.recordBytes: from 1Ki to 4Mi"),
        (fabric(limits={"recordBytes": "4Mi"}, sidecar={"spool": {"quota": "32Mi"}}), "limits.recordBytes: a record"),
        (fabric(identity={"certificateLifetime": "1m"}), "identity.certificateLifetime: from 10m to 720h"),
        (fabric(identity={"onDelete": "Maybe"}), 'supported values: "Keep", "Delete"'),
        (fabric(reconcile="Off"), 'supported values: "Active", "Paused"'),
        (fabric(trustDomain="Example.ORG"), "spec.trustDomain"),
        (named(FABRIC, "a.b"), "metadata.name: small letters, digits and hyphens only"),
        (named(FABRIC, "a" * 41), "metadata.name: at most 40 characters"),
        ({**SINK, "spec": {"destination": {"file": {}}}}, "spec.fabric: Required value"),
        ({**SINK, "spec": {"fabric": "demo"}}, "spec.destination: Required value"),
        ({name: value for name, value in SINK.items() if name != "spec"}, "spec: Required value"),
        (sink(destination={}), "destination: exactly one of file, sqlite and postgres"),
        (sink(destination={"file": {}, "sqlite": {}}), "destination: exactly one of"),
        (sink(destination={"kafka": {}}), 'unknown field "spec.destination.kafka"'),
        (sink(destination={"postgres": {}}), "destination.postgres: exactly one of url and secretRef"),
        (sink(destination={"postgres": {"url": "postgres://a", "secretRef": {"name": "b"}}}), "exactly one of url"),
        (sink(destination={"postgres": {"url": "mysql://a"}}), "spec.destination.postgres.url"),
        (sink(destination={"postgres": {"secretRef": {"key": "url"}}}), "secretRef.name: Required value"),
        (sink(destination={"sqlite": {"storage": {"size": "1Ki"}}}), "storage.size: at least 1Mi"),
        (sink(destination={"sqlite": {}}, workers=2), "workers: a file or sqlite destination takes one worker"),
        (sink(workers=0), "greater than or equal to 1"),
        (sink(required=False, whenFull="Refuse"), "whenFull: an optional sink never holds records up"),
        (sink(whenFull="Drop"), 'supported values: "Refuse", "ExpireOldest"'),
        (named(sink(), "Billing"), "metadata.name"),
    ],
)
def test_what_is_wrong_is_refused_with_a_word_on_what_to_write(
    kubernetes: Cluster, document: dict[str, Any], says: str
) -> None:
    assert says in refusal(kubernetes, document)


@pytest.mark.parametrize(
    ("document", "change", "says"),
    [
        (fabric(), {"trustDomain": "other.example"}, "trustDomain: can't be changed"),
        (sink(), {"fabric": "other"}, "fabric: can't be changed"),
        (sink(), {"destination": {"postgres": None, "file": {}}}, "destination: its kind can't be changed"),
        (
            sink(destination={"sqlite": {}}),
            {"destination": {"sqlite": {"storage": {"size": "20Gi"}}}},
            "storage: can't be changed",
        ),
    ],
)
def test_what_must_stay_is_held(kubernetes: Cluster, document: dict[str, Any], change: Any, says: str) -> None:
    kept = named(copy.deepcopy(document), "stays")
    kind = kept["kind"].lower()
    kubernetes.kubectl("apply", "-f", "-", stdin=json.dumps(kept))
    try:
        with pytest.raises(subprocess.CalledProcessError) as caught:
            kubernetes.kubectl("patch", kind, "stays", "--type=merge", "-p", json.dumps({"spec": change}))
        assert says in caught.value.stderr
    finally:
        kubernetes.kubectl("delete", kind, "stays", "--wait=false")


def test_relays_are_scaled_by_the_scale_subresource(kubernetes: Cluster) -> None:
    kubernetes.kubectl("apply", "-f", "-", stdin=json.dumps(named(FABRIC, "scaled")))
    try:
        kubernetes.kubectl("scale", "meteringfabric", "scaled", "--replicas=5")
        found = kubernetes.kubectl("get", "mfab", "scaled", "-o", "jsonpath={.spec.relay.replicas}")
        assert found == "5"
    finally:
        kubernetes.kubectl("delete", "meteringfabric", "scaled", "--wait=false")


def test_explain_says_what_a_field_is_for(kubernetes: Cluster) -> None:
    assert "SPIFFE trust domain" in kubernetes.kubectl("explain", "mfab.spec.trustDomain")
