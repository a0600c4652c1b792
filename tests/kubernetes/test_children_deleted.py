"""Each kind of what the operator makes, deleted or changed on a real cluster: restored by what watching tells.

Nothing here is restored by looking at everything now and then: the chart's `resync` is longer than a test waits.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from meterfabric_operator.api.kinds import FABRIC_CHILDREN
from tests.cluster.wait import until
from tests.kubernetes.installed import METERING, SECONDS, SHOP, Installed, is_ready, kinds, pod
from tests.kubernetes.standing import DEMO, OURS

pytestmark = [pytest.mark.cluster, pytest.mark.long]

WORKERS = "app.kubernetes.io/component=sink,meterfabric.io/sink=billing"
SHARED_KEY = ".data.relays\\.curve"


@pytest.fixture(scope="module")
def standing(installed: Installed) -> Iterator[Installed]:
    """With a sink more, whose one worker keeps its records on a volume. The cluster has none, so its pod waits."""
    files = kinds()[1]
    files["metadata"]["name"] = "files"
    files["spec"] |= {"required": False, "destination": {"file": {"storage": {"size": "5Mi"}}}}
    installed.apply(files)
    until("its workload is there", SECONDS, lambda: installed.get("statefulset", "files-sink", METERING))
    yield installed
    installed.kubectl("delete", "meteringsink", "files", "-n", METERING)
    until("it is gone", SECONDS, lambda: installed.get("statefulset", "files-sink", METERING) is None)
    until("the fabric is ready", SECONDS, lambda: is_ready(installed))


def of_kind(installed: Installed, kind: str) -> dict[tuple[str, str], str]:
    """Namespace and name of those that the operator made, with their UID."""
    listed = json.loads(installed.kubectl("get", kind.lower(), "-A", "-l", f"{OURS},{DEMO}", "-o", "json"))["items"]
    return {
        (each["metadata"].get("namespace", ""), each["metadata"]["name"]): each["metadata"]["uid"] for each in listed
    }


def made(installed: Installed, kind: str) -> bool:
    """Whether the operator makes it here: API servers before 1.36 have no mutating policies that it could bind."""
    return kind.lower() in {each.lower() for each in (*installed.child_kinds, "Secret")}


@pytest.mark.parametrize("kind", [*FABRIC_CHILDREN, "Secret"])
def test_what_is_deleted_comes_back(standing: Installed, kind: str) -> None:
    if not made(standing, kind):
        return
    before = of_kind(standing, kind)
    assert before
    for (where, name), uid in before.items():
        standing.kubectl("delete", kind.lower(), name, *(["-n", where] if where else []))

        def restored(key: tuple[str, str] = (where, name), uid: str = uid) -> bool:
            return of_kind(standing, kind).get(key, uid) != uid

        until(f"{kind} {name} is there again", SECONDS, restored)
    assert set(of_kind(standing, kind)) == set(before)
    until("the sink has workers", SECONDS, lambda: is_ready(standing, "meteringsink", "billing"))


def test_sidecars_and_workers_that_run_go_on_after_every_key_was_made_again(standing: Installed) -> None:
    key = value(standing, "secret/demo-relay", SHARED_KEY)
    # It stays: the spare root was lost as well, and another is known everywhere only after a while.
    standing.apply(pod(standing, "keeps", 200, pause=0.1, then="time.sleep(600)"))
    until("records arrive", SECONDS, lambda: standing.records("keeps") > 0)
    standing.kubectl("delete", "secret", "demo-relay", "-n", METERING)
    until("the same key is there again", SECONDS, lambda: value(standing, "secret/demo-relay", SHARED_KEY) == key)
    standing.kubectl("rollout", "restart", "deployment/demo-relay", "-n", METERING)
    standing.kubectl("rollout", "status", "deployment/demo-relay", "-n", METERING, f"--timeout={SECONDS}s")
    until("all records are there", SECONDS, lambda: standing.records("keeps") == 200)

    def workers_began_anew() -> bool:
        found = json.loads(standing.kubectl("get", "pods", "-n", METERING, "-l", WORKERS, "-o", "json"))["items"]
        return all(pod["status"]["containerStatuses"][0]["restartCount"] >= 1 for pod in found)

    # A kubelet takes its time to put a Secret into a running pod's volume.
    until("the sink's worker has its new key", 2 * SECONDS, workers_began_anew)
    until("and is ready with it", SECONDS, lambda: is_ready(standing, "meteringsink", "billing"))
    standing.apply(pod(standing, "after", 20))
    until("what came after is there", SECONDS, lambda: standing.records("after") == 20)
    standing.kubectl("delete", "pod", "keeps", "-n", SHOP, "--wait=false")


def value(installed: Installed, what: str, path: str, where: str = METERING) -> str:
    place = ["-n", where] if where else []
    return installed.kubectl("get", what, *place, "--ignore-not-found", "-o", f"jsonpath={{{path}}}")


FABRIC_LABEL = ".metadata.labels.meterfabric\\.io/fabric"
MANAGED = ".metadata.labels.app\\.kubernetes\\.io/managed-by"
TAKEN = {"metadata": {"labels": {"app.kubernetes.io/managed-by": "somebody"}}}
CLUSTER = f"meterfabric.{METERING}.demo"


@pytest.mark.parametrize(
    ("what", "where", "patch", "path"),
    [
        ("deployment/demo-relay", METERING, {"spec": {"minReadySeconds": 9}}, ".spec.minReadySeconds"),
        ("statefulset/files-sink", METERING, {"spec": {"replicas": 2}}, ".spec.replicas"),
        ("service/demo-relay", METERING, {"spec": {"selector": {"x": "y"}}}, ".spec.selector"),
        ("service/demo-relay", METERING, TAKEN, MANAGED),
        ("poddisruptionbudget/demo-relay", METERING, {"spec": {"maxUnavailable": 2}}, ".spec.maxUnavailable"),
        (
            "networkpolicy/demo-relay",
            METERING,
            {"metadata": {"labels": {"meterfabric.io/fabric": "a.b"}}},
            FABRIC_LABEL,
        ),
        ("configmap/demo-trust", METERING, {"data": {"trust.pem": "evil"}}, ".data"),
        (f"configmap/{CLUSTER}", SHOP, {"data": {"sinks.json": "[]"}}, ".data"),
        (f"clusterrolebinding/{CLUSTER}", "", {"subjects": []}, ".subjects"),
        (f"mutatingadmissionpolicybinding/{CLUSTER}", "", {"spec": {"policyName": "other"}}, ".spec.policyName"),
        ("secret/demo-relay", METERING, {"data": {"relays.curve": None}}, SHARED_KEY),
        ("secret/demo-history", METERING, {"data": {"roots.pem": None}}, ".data"),
        ("secret/demo-history", METERING, TAKEN, MANAGED),
        ("secret/billing-sink", METERING, {"metadata": {"labels": {"meterfabric.io/fabric": "a.b"}}}, FABRIC_LABEL),
    ],
)
def test_what_is_changed_is_put_right(standing: Installed, what: str, where: str, patch: Any, path: str) -> None:
    if not made(standing, what.partition("/")[0]):
        return
    before = value(standing, what, path, where)
    assert before
    place = ["-n", where] if where else []
    changed = standing.kubectl(
        "patch", what, *place, "--type=merge", "-p", json.dumps(patch), "-o", f"jsonpath={{{path}}}"
    )
    assert changed != before
    until("it is as it was", SECONDS, lambda: value(standing, what, path, where) == before)


def test_a_worker_that_never_became_ready_is_replaced_by_what_mends_it(standing: Installed) -> None:
    def worker(path: str) -> str:
        return value(standing, "pod/files-sink-0", path)

    until("its pod is there", SECONDS, lambda: worker(".metadata.uid"))
    first = worker(".metadata.uid")
    assert worker(".status.conditions[?(@.type=='Ready')].status") != "True"
    patch = json.dumps({"spec": {"resources": {"cpu": "110m"}}})
    standing.kubectl("patch", "meteringsink", "files", "-n", METERING, "--type=merge", "-p", patch)
    until("another pod has the change", SECONDS, lambda: worker(".spec.containers[0].resources.limits.cpu") == "110m")
    assert worker(".metadata.uid") != first
