"""A fabric's relays on a real cluster: scaled by a person, the built-in autoscaler, a HorizontalPodAutoscaler."""

import json
import secrets
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.wait import until
from tests.kubernetes.installed import METERING, SECONDS, SHOP, Installed, is_ready, kinds, pod

pytestmark = pytest.mark.cluster

RELAYS = "app.kubernetes.io/component=relay"
PATIENCE = 3 * SECONDS
"""Windows, means of 15 seconds, and pods that start on a busy machine come together."""


@pytest.fixture
def demo(installed: Installed) -> Iterator[Installed]:
    """The fabric as it was made, before and after."""
    yield installed
    installed.kubectl("patch", "mfab", "demo", "-n", METERING, "--type=merge", "-p", json.dumps(_spec(None)))
    installed.apply(*kinds())
    scale(installed, 2)
    until("two relays serve", PATIENCE, lambda: ready(installed) == 2 and is_ready(installed))


@pytest.fixture
def load(demo: Installed) -> Iterator[list[str]]:
    """Pods that keep relays busy, by their names; they end with the test, whatever becomes of it."""
    names = [f"busy-{secrets.token_hex(3)}" for _ in range(3)]
    yield names
    demo.kubectl("delete", "pod", "-n", SHOP, "--ignore-not-found", "--grace-period=1", *names)


def _spec(autoscaling: dict[str, Any] | None) -> dict[str, Any]:
    return {"spec": {"relay": {"autoscaling": autoscaling}}}


def scale(installed: Installed, replicas: int) -> None:
    """As a person does."""
    installed.kubectl("scale", "mfab", "demo", "-n", METERING, f"--replicas={replicas}")


def scale_of(installed: Installed) -> dict[str, Any]:
    """The fabric's scale subresource."""
    path = f"/apis/meterfabric.io/v1alpha1/namespaces/{METERING}/meteringfabrics/demo/scale"
    found = json.loads(installed.kubectl("get", "--raw", path))
    assert isinstance(found, dict)
    return found


def wanted(installed: Installed) -> int:
    """spec.relay.replicas."""
    return int(scale_of(installed)["spec"]["replicas"])


def ready(installed: Installed) -> int:
    """Relays that are ready, all being of the newest number."""
    status = (installed.get("deployment", "demo-relay", METERING) or {})["status"]
    same = status.get("replicas", 0) == status.get("readyReplicas", 0)
    return int(status.get("readyReplicas", 0)) if same else -1


def sizes(installed: Installed) -> list[str]:
    """What events say of changes of size, in no order."""
    found = installed.kubectl("get", "events", "-n", METERING, "-o", "json")
    return [each["message"] for each in json.loads(found)["items"] if each["reason"] == "SuccessfulRescale"]


def test_kubectl_scale_is_followed_and_the_scale_subresource_tells_it(demo: Installed) -> None:
    scale(demo, 3)
    until("three relays are there", PATIENCE, lambda: ready(demo) == 3)
    until("the status tells it", SECONDS, lambda: scale_of(demo)["status"].get("replicas") == 3)
    selector = scale_of(demo)["status"]["selector"]
    assert len(demo.names("pods", METERING, selector)) == 3
    until("the condition tells it", SECONDS, lambda: _relays_available(demo) == "3 of 3 relays are ready")


def _relays_available(demo: Installed) -> str:
    return str(demo.condition("mfab", "demo", METERING, "RelaysAvailable").get("message", ""))


@pytest.mark.parametrize("how", [("--server-side", "--force-conflicts"), ()], ids=["server-side", "client-side"])
def test_a_number_that_a_manifest_names_no_more_stays_when_its_autoscaler_is_turned_on(
    demo: Installed, how: tuple[str, ...]
) -> None:
    """Both kinds of apply remove what was named before and isn't any more."""
    fabric = kinds()[0]

    def apply(**relay: Any) -> None:
        fabric["spec"]["relay"] = {"resources": {"cpu": "100m"}, **relay}
        demo.kubectl("apply", *how, "-f", "-", stdin=json.dumps(fabric))

    def generation() -> int:
        return int((demo.get("deployment", "demo-relay", METERING) or {})["metadata"]["generation"])

    apply(replicas=3)
    until("three relays serve", PATIENCE, lambda: ready(demo) == 3)
    before = generation()
    apply(autoscaling={"minReplicas": 2, "maxReplicas": 4})
    until("it tells that it scales", PATIENCE, lambda: _active(demo) == "True")
    assert wanted(demo) == 3
    assert generation() == before, "the relays' Deployment was changed meanwhile"


def test_a_fabric_grows_under_load_and_shrinks_after_and_a_manifest_without_replicas_never_fights(
    demo: Installed, load: list[str]
) -> None:
    """The manifest is applied again and again, as from Git; the number is the autoscaler's alone."""
    scale(demo, 1)
    until("one relay serves", PATIENCE, lambda: ready(demo) == 1)
    calm = {"stabilizationWindowSeconds": 30}
    spec: dict[str, Any] = {
        "minReplicas": 1,
        "maxReplicas": 3,
        "targetUtilization": 50,
        "behavior": {"scaleDown": calm},
    }
    manifest = {
        "apiVersion": "meterfabric.io/v1alpha1",
        "kind": "MeteringFabric",
        "metadata": {"name": "demo", "namespace": METERING},
        "spec": {
            "sidecar": {"spool": {"quota": "20Mi"}, "resources": {"cpu": "100m"}},
            "relay": {"autoscaling": spec, "resources": {"cpu": "100m"}},
        },
    }

    def apply() -> str:
        arguments = ("apply", "--server-side", "--force-conflicts", "--field-manager=git", "-f", "-")
        return demo.kubectl(*arguments, stdin=json.dumps(manifest))

    apply()
    until("it tells that it scales", PATIENCE, lambda: _active(demo) == "True")
    assert wanted(demo) == 1
    demo.apply(*(busy(demo, name) for name in load))
    until("it grows", PATIENCE, lambda: wanted(demo) > 1)
    assert any("above target" in size for size in sizes(demo))
    grown = wanted(demo)
    apply()
    assert wanted(demo) >= grown
    until("relays follow", PATIENCE, lambda: ready(demo) >= grown)
    for name in load:
        demo.kubectl("exec", name, "-n", SHOP, "-c", "meter", "--", "touch", "/tmp/enough")
    until("all pods have sent", PATIENCE, lambda: all("sent" in demo.said(name, SHOP) for name in load))
    sent = {name: demo.said(name, SHOP).split()[1] for name in load}
    counted = (
        "SELECT source, count(*), count(DISTINCT id) FROM meterfabric.records WHERE source LIKE 'busy-%' GROUP BY 1"
    )
    until("all is there, once", PATIENCE, lambda: _among(demo.sql(counted), sent))
    until("it shrinks", PATIENCE, lambda: wanted(demo) == 1)
    apply()
    until("relays follow back", PATIENCE, lambda: ready(demo) == 1)
    assert wanted(demo) == 1
    assert _among(demo.sql(counted), sent)
    assert any("below target" in size for size in sizes(demo))


def _among(rows: list[list[str]], sent: dict[str, str]) -> bool:
    """Whether of each source so many records are there, each once. ``rows``: source, records, different ones."""
    held = {source: (count, different) for source, count, different in rows}
    return all(held.get(source) == (count, count) for source, count in sent.items())


def busy(installed: Installed, name: str) -> dict[str, Any]:
    """A pod that sends more than a sink can store, until a file appears, and then says how many records were taken."""
    made = pod(installed, name, 0)
    program = f"""
import base64, json, os, time, urllib.error, urllib.request
number = 0
while not os.path.exists("/tmp/enough"):
    pads = [base64.b64encode(os.urandom(30_000)).decode() for _ in range(10)]
    common = {{"specversion": "1.0", "source": "{name}", "type": "usage"}}
    lines = [json.dumps({{**common, "id": str(number + at), "data": pad}}) for at, pad in enumerate(pads)]
    headers = {{"Content-Type": "application/x-ndjson"}}
    request = urllib.request.Request("http://127.0.0.1:8280/api/v1/events", "\\n".join(lines).encode(), headers)
    while True:
        try:
            urllib.request.urlopen(request).close()
        except urllib.error.HTTPError as error:
            assert error.code in (429, 503), error.code
            time.sleep(0.2)
        else:
            break
    number += len(lines)
print("sent", number, flush=True)
time.sleep(3600)  # what the spool holds is delivered meanwhile; the test takes the pod away
"""
    made["spec"]["containers"][0]["command"] = ["python3", "-c", program]
    return made


def _active(demo: Installed) -> str:
    return str(demo.condition("mfab", "demo", METERING, "ScalingActive").get("status", ""))


def test_a_real_horizontal_pod_autoscaler_reads_and_writes_the_scale_subresource(demo: Installed) -> None:
    """Without a metrics API in this cluster it can't compute a number, and says so; its bounds it enforces."""
    scaler: dict[str, Any] = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "demo", "namespace": METERING},
        "spec": {
            "scaleTargetRef": {"apiVersion": "meterfabric.io/v1alpha1", "kind": "MeteringFabric", "name": "demo"},
            "minReplicas": 3,
            "maxReplicas": 4,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
                }
            ],
        },
    }
    demo.apply(scaler)
    try:
        until("it writes the number of relays", PATIENCE, lambda: wanted(demo) == 3)
        until("relays follow", PATIENCE, lambda: ready(demo) == 3)
        until("it asks for metrics", PATIENCE, lambda: _of_scaler(demo, "ScalingActive") != {})
        assert _of_scaler(demo, "AbleToScale")["status"] == "True"
        assert _of_scaler(demo, "ScalingActive")["reason"] == "FailedGetResourceMetric"
    finally:
        demo.kubectl("delete", "hpa", "demo", "-n", METERING)


def _of_scaler(demo: Installed, kind: str) -> dict[str, Any]:
    return demo.condition("hpa", "demo", METERING, kind)


def test_a_number_out_of_bounds_is_refused(installed: Installed) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        scale(installed, 101)
    assert "less than or equal to 100" in caught.value.stderr
