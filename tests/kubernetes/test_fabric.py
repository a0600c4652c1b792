"""A fabric on a real cluster: injected, enrolled, delivered, audited; changed while it runs; paused."""

import json

import pytest

from tests.cluster.wait import until
from tests.kubernetes.installed import (
    METERING,
    SECONDS,
    SHOP,
    Installed,
    is_ready,
    kinds,
    metering,
    namespace,
    pod,
)
from tests.kubernetes.loads import Load, balanced

pytestmark = pytest.mark.cluster


def test_a_pods_records_arrive_signed_and_audited_in_postgresql(installed: Installed) -> None:
    load = Load(installed, "first")
    load.start(most=100)
    assert load.arrives_once() == 100
    balanced(installed, load.source)


def test_the_books_are_told_by_fabric_and_sink(installed: Installed) -> None:
    sent = int(installed.sql("SELECT count(*) FROM meterfabric.records")[0][0])
    assert sent

    def delivered(kind: str, name: str) -> int:
        status = (installed.get(kind, name, METERING) or {}).get("status", {})
        return int(status.get("books", {}).get("delivered", 0))

    until("the fabric's books are told", SECONDS, lambda: delivered("meteringfabric", "demo") >= sent)
    until("the sink's books are told", SECONDS, lambda: delivered("meteringsink", "billing") >= sent)


def test_a_sidecar_comes_first_and_the_pods_quality_of_service_stays(installed: Installed) -> None:
    made = pod(installed, "guaranteed", 1)
    amounts = {"cpu": "50m", "memory": "64Mi"}
    made["spec"]["containers"][0]["resources"] = {"requests": amounts, "limits": amounts}
    other = {"name": "other", "image": installed.dataplane, "command": ["true"]}
    made["spec"]["initContainers"] = [{**other, "resources": {"requests": amounts, "limits": amounts}}]
    found = installed.dry(made)
    assert [each["name"] for each in found["spec"]["initContainers"]] == ["meterfabric", "other"]
    assert found["status"]["qosClass"] == "Guaranteed"
    assert found["spec"]["terminationGracePeriodSeconds"] >= 5 + 30


@pytest.mark.parametrize("why", ["no label", "host network", "not joined"])
def test_who_doesnt_meter_gets_no_sidecar(installed: Installed, why: str) -> None:
    made = pod(installed, "plain", 1)
    if why == "no label":
        made["metadata"]["labels"] = {}
    elif why == "host network":
        made["spec"]["hostNetwork"] = True
    else:
        made["metadata"]["namespace"] = "default"
    assert "initContainers" not in installed.dry(made)["spec"]


def test_pods_of_a_restricted_namespace_are_taken(installed: Installed) -> None:
    joined = {"meterfabric.io/fabric": f"{METERING}.demo", "pod-security.kubernetes.io/enforce": "restricted"}
    installed.apply(namespace("strict", **joined))
    made = pod(installed, "strict", 20, "strict")
    made["spec"]["securityContext"] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    made["spec"]["containers"][0]["securityContext"] = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    installed.apply(made)
    until("its records are there", SECONDS, lambda: installed.records("strict") == 20)
    installed.kubectl("delete", "namespace", "strict", "--wait=false")


def test_a_job_that_meters_finishes_and_all_its_records_arrive(installed: Installed) -> None:
    template = metering(installed, "job", 50)
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "job", "namespace": SHOP},
        "spec": {"template": template, "backoffLimit": 0},
    }
    installed.apply(job)
    installed.kubectl("wait", "-n", SHOP, "--for=condition=Complete", "job/job", f"--timeout={SECONDS}s")
    until("its records are there", SECONDS, lambda: installed.records("job") == 50)
    (closed,) = installed.sql("SELECT bool_and(closed) FROM meterfabric.logs WHERE origin LIKE '%/shop/job-%'")[0]
    assert closed == "t"


def test_a_pod_made_again_under_its_old_name_is_a_new_log(installed: Installed) -> None:
    template = metering(installed, "again", 10, then="time.sleep(600)")
    del template["spec"]["restartPolicy"]
    stateful = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "again", "namespace": SHOP},
        "spec": {"serviceName": "again", "selector": {"matchLabels": {"app": "again"}}, "template": template},
    }

    def logs() -> set[str]:
        rows = installed.sql(
            "SELECT origin FROM meterfabric.logs WHERE origin LIKE '%/shop/again-0/%' AND records = 10"
        )
        return {origin for (origin,) in rows}

    before = len(logs())
    installed.apply(stateful)
    until("its records are there", SECONDS, lambda: len(logs()) == before + 1)
    installed.kubectl("delete", "pod", "again-0", "-n", SHOP)
    until("those of its successor are there too", SECONDS, lambda: len(logs()) == before + 2)
    installed.kubectl("delete", "statefulset", "again", "-n", SHOP, "--wait=false")


def test_a_sink_that_joins_is_told_to_sidecars_that_run(installed: Installed) -> None:
    archive = kinds()[1]
    archive["metadata"]["name"] = "archive"
    archive["spec"]["required"] = False

    def told() -> str:
        held = installed.get("configmap", f"meterfabric.{METERING}.demo", SHOP) or {"data": {}}
        return str(held["data"].get("sinks.json", ""))

    installed.apply(archive)
    until("sidecars are told", SECONDS, lambda: '"archive"' in told())
    installed.kubectl("delete", "meteringsink", "archive", "-n", METERING)
    until("sidecars are told again", SECONDS, lambda: '"archive"' not in told())
    until("its workers are gone", SECONDS, lambda: installed.get("deployment", "archive-sink", METERING) is None)


def test_a_fabric_that_is_paused_is_left_as_it_is_and_says_so(installed: Installed) -> None:
    def reconcile(mode: str) -> None:
        patch = json.dumps({"spec": {"reconcile": mode}})
        installed.kubectl("patch", "meteringfabric", "demo", "-n", METERING, "--type=merge", "-p", patch)

    reconcile("Paused")
    until("it says so", SECONDS, lambda: _reason(installed) == "Paused")
    installed.kubectl("delete", "poddisruptionbudget", "demo-relay", "-n", METERING)
    # Another change that it does see: after that one it has seen the first.
    installed.apply(namespace("late", **{"meterfabric.io/fabric": f"{METERING}.demo"}))
    installed.kubectl("annotate", "meteringfabric", "demo", "-n", METERING, "seen=1", "--overwrite")
    assert installed.get("poddisruptionbudget", "demo-relay", METERING) is None
    reconcile("Active")
    until("it acts again", SECONDS, lambda: installed.get("poddisruptionbudget", "demo-relay", METERING))
    until("the fabric is ready", SECONDS, lambda: is_ready(installed))
    installed.kubectl("delete", "namespace", "late", "--wait=false")


def _reason(installed: Installed) -> str:
    return str(installed.condition("meteringfabric", "demo", METERING, "Ready").get("reason", ""))


def test_a_pod_that_has_no_sidecar_is_named_in_a_condition(installed: Installed) -> None:
    made = pod(installed, "hosted", 0)
    made["spec"] |= {"hostNetwork": True}
    made["spec"]["containers"][0]["command"] = ["sleep", "600"]
    installed.apply(made)

    def message() -> str:
        found = installed.condition("meteringfabric", "demo", METERING, "ProducersInjected")
        return str(found.get("message", ""))

    until("it is named", SECONDS, lambda: f"{SHOP}/hosted (it uses the node's network" in message())
    installed.kubectl("delete", "pod", "hosted", "-n", SHOP, "--grace-period=0", "--force")
    until("it is no longer named", SECONDS, lambda: "hosted" not in message())
