"""A fabric on a real cluster: injected, enrolled, delivered; put right when changed; paused; taken over; removed."""

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from meterfabric_operator.kinds import FABRIC_CHILDREN
from tests.cluster.wait import until
from tests.kubernetes.installed import (
    METERING,
    RELEASE,
    SECONDS,
    SHOP,
    SYSTEM,
    URL,
    Installed,
    is_ready,
    kinds,
    metering,
    namespace,
    pod,
)

pytestmark = pytest.mark.cluster

OURS = "app.kubernetes.io/managed-by=meterfabric-operator"


def children(installed: Installed) -> dict[tuple[str, str, str], str]:
    """Kind, namespace and name of everything that the operator made and watches, with its UID."""
    found = {}
    for kind in FABRIC_CHILDREN:
        listed = json.loads(installed.kubectl("get", kind.lower(), "-A", "-l", OURS, "-o", "json"))
        for each in listed["items"]:
            metadata = each["metadata"]
            found[kind, metadata.get("namespace", ""), metadata["name"]] = metadata["uid"]
    return found


def phase(installed: Installed, name: str, where: str = SHOP) -> str:
    return str((installed.get("pod", name, where) or {}).get("status", {}).get("phase", ""))


def test_a_pods_records_arrive_signed_and_audited_in_postgresql(installed: Installed, tmp_path: Path) -> None:
    installed.apply(pod(installed, "first", 100))
    until("all records are in the database", SECONDS, lambda: installed.records("first") == 100)
    until("the pod has ended", SECONDS, lambda: phase(installed, "first") == "Succeeded")
    trust = tmp_path / "trust.pem"
    held = installed.get("configmap", "demo-trust", METERING)
    assert held is not None
    trust.write_text(held["data"]["trust.pem"])
    port = installed.kubernetes.forward(f"{_address(installed, 'app=database')}:5432")
    url = URL.replace(f"database.{METERING}.svc.cluster.local", f"127.0.0.1:{port}")
    command = ["meterfabric", "audit", "--sink", url, "--trust", str(trust), "--json"]
    audited = subprocess.run(command, capture_output=True, text=True, check=False)
    assert audited.returncode == 0, audited.stdout + audited.stderr


def test_the_books_are_told_by_fabric_and_sink(installed: Installed) -> None:
    sent = int(installed.sql("SELECT count(*) FROM meterfabric.records")[0][0])
    assert sent

    def delivered(kind: str, name: str) -> int:
        status = (installed.get(kind, name, METERING) or {}).get("status", {})
        return int(status.get("books", {}).get("delivered", 0))

    until("the fabric's books are told", SECONDS, lambda: delivered("meteringfabric", "demo") >= sent)
    until("the sink's books are told", SECONDS, lambda: delivered("meteringsink", "billing") >= sent)


def _address(installed: Installed, selector: str) -> str:
    found = installed.kubectl("get", "pods", "-n", METERING, "-l", selector, "-o", "jsonpath={.items[0].status.podIP}")
    assert found
    return found


def test_a_sidecar_comes_first_and_the_pods_quality_of_service_stays(installed: Installed) -> None:
    made = pod(installed, "guaranteed", 1)
    amounts = {"cpu": "50m", "memory": "64Mi"}
    made["spec"]["containers"][0]["resources"] = {"requests": amounts, "limits": amounts}
    other = {"name": "other", "image": installed.dataplane, "command": ["true"]}
    made["spec"]["initContainers"] = [{**other, "resources": {"requests": amounts, "limits": amounts}}]
    found = json.loads(installed.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(made)))
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
    found = installed.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(made))
    assert "initContainers" not in json.loads(found)["spec"]


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


def test_relays_that_are_rolled_under_load_lose_and_double_nothing(installed: Installed) -> None:
    def relays() -> set[str]:
        return set(installed.names("pod", METERING, "app.kubernetes.io/component=relay"))

    until("the relays are settled", SECONDS, lambda: len(relays()) == 2 and is_ready(installed))
    before = relays()
    installed.apply(pod(installed, "steady", 400, pause=0.05))
    until("records arrive", SECONDS, lambda: installed.records("steady"))
    patch = json.dumps({"spec": {"relay": {"resources": {"cpu": "110m"}}}})
    installed.kubectl("patch", "meteringfabric", "demo", "-n", METERING, "--type=merge", "-p", patch)
    until("every relay is another", SECONDS, lambda: len(relays()) == 2 and not relays() & before)
    until("all records are there", SECONDS, lambda: installed.records("steady") == 400)
    assert installed.sql("SELECT count(*) FROM meterfabric.records WHERE source = 'steady'") == [["400"]]


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


# Certificates


def ask(installed: Installed, name: str, bound: str, folder: Path, signer: str, csr: bytes) -> str:
    """Make a certificate request as the service account `default` of SHOP, with a token bound to a pod."""
    token = installed.kubectl("create", "token", "default", "-n", SHOP, *_bound(bound))
    held = json.loads(installed.kubectl("config", "view", "--raw", "--minify", "-o", "json"))
    held["users"] = [{"name": held["users"][0]["name"], "user": {"token": token.strip()}}]
    file = folder / "kubeconfig"
    file.write_text(json.dumps(held))
    request = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": {
            "request": base64.b64encode(csr).decode(),
            "signerName": signer,
            "usages": ["client auth", "digital signature"],
        },
    }
    return installed.kubectl("--kubeconfig", str(file), "create", "-f", "-", stdin=json.dumps(request))


def _bound(name: str) -> list[str]:
    return ["--bound-object-kind=Pod", f"--bound-object-name={name}"] if name else []


def request_for(installed: Installed, name: str) -> bytes:
    """A request as the sidecar of that pod would make it, with a key of ours."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from meterfabric_protocol.names import Producer
    from meterfabric_runtime.csr import make_csr

    found = installed.get("pod", name, SHOP)
    assert found is not None
    subject = Producer("meterfabric.local", f"{METERING}.demo", SHOP, "default", name, found["metadata"]["uid"])
    return make_csr(Ed25519PrivateKey.generate(), subject.spiffe)


def answer(installed: Installed, name: str) -> dict[str, str]:
    """How a request was answered, once it was."""
    conditions: list[dict[str, Any]] = []

    def answered() -> bool:
        found = installed.get("csr", name) or {}
        conditions[:] = found.get("status", {}).get("conditions", [])
        return bool(conditions)

    until(f"{name} is answered", SECONDS, answered)
    return {each["type"]: each["reason"] for each in conditions}


def test_only_a_live_pod_that_is_admitted_gets_a_certificate(installed: Installed, tmp_path: Path) -> None:
    installed.apply(pod(installed, "asks", 1, then="time.sleep(600)"))
    plain = pod(installed, "unlabelled", 0)
    plain["metadata"]["labels"] = {}
    plain["spec"]["containers"][0]["command"] = ["sleep", "600"]
    installed.apply(plain)
    signer = "meterfabric.io/producer"
    for name in ("asks", "unlabelled"):
        until(f"{name} runs", SECONDS, lambda name=name: phase(installed, name) == "Running")
    ask(installed, "good", "asks", tmp_path, signer, request_for(installed, "asks"))
    ask(installed, "without-label", "unlabelled", tmp_path, signer, request_for(installed, "unlabelled"))
    ask(installed, "for-another", "asks", tmp_path, signer, request_for(installed, "unlabelled"))
    ask(installed, "by-no-pod", "", tmp_path, signer, request_for(installed, "asks"))
    assert answer(installed, "good") == {"Approved": "Admitted"}
    assert answer(installed, "without-label") == {"Denied": "NotAdmitted"}
    assert answer(installed, "for-another") == {"Denied": "WrongName"}
    assert answer(installed, "by-no-pod") == {"Denied": "NotAPod"}
    until("it is signed", SECONDS, lambda: (installed.get("csr", "good") or {})["status"].get("certificate"))


def test_a_service_account_that_enrols_may_ask_no_other_signer(installed: Installed, tmp_path: Path) -> None:
    csr = request_for(installed, "asks")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        ask(installed, "other", "asks", tmp_path, "kubernetes.io/kube-apiserver-client", csr)
    assert "may ask meterfabric.io/producer only" in caught.value.stderr
    # The administrator, who may do everything, isn't held.
    installed.kubectl("auth", "can-i", "use", "enrolments.meterfabric.io")


def test_a_namespace_that_didnt_join_may_not_even_ask(installed: Installed) -> None:
    account = "--as=system:serviceaccount:default:default"
    groups = ["--as-group=system:serviceaccounts", "--as-group=system:serviceaccounts:default"]
    with pytest.raises(subprocess.CalledProcessError):
        installed.kubectl("auth", "can-i", "create", "certificatesigningrequests", account, *groups)


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


# The operator itself


def holder(installed: Installed) -> str:
    found = installed.get("lease", f"{RELEASE}-operator", SYSTEM) or {"spec": {}}
    return str(found["spec"].get("holderIdentity", ""))


def test_another_replica_takes_over(installed: Installed) -> None:
    first = holder(installed)
    assert first
    installed.kubectl("delete", "pod", first, "-n", SYSTEM, "--grace-period=0", "--force")
    until("another one acts", 20, lambda: holder(installed) not in ("", first))
    installed.kubectl("delete", "poddisruptionbudget", "demo-relay", "-n", METERING)
    until("and does", SECONDS, lambda: installed.get("poddisruptionbudget", "demo-relay", METERING))


def test_pods_start_and_take_records_without_the_operator_and_deliver_when_it_is_back(installed: Installed) -> None:
    scale = ("scale", f"deployment/{RELEASE}-operator", "-n", SYSTEM)
    installed.kubectl(*scale, "--replicas=0")
    until(
        "no operator runs", SECONDS, lambda: not installed.names("pod", SYSTEM, "app.kubernetes.io/component=operator")
    )
    installed.kubectl("delete", "pods", "-n", METERING, "-l", OURS, "--wait=true")
    installed.apply(pod(installed, "early", 50, then="time.sleep(600)"))
    try:
        until("records are taken", SECONDS, lambda: "sent" in installed.said("early", SHOP))
        assert installed.records("early") == 0
    finally:
        installed.kubectl(*scale, "--replicas=2")
    until("they are delivered", SECONDS, lambda: installed.records("early") == 50)
    until("the fabric is ready", SECONDS, lambda: is_ready(installed))


def test_a_fabric_that_is_deleted_leaves_its_keys_and_nothing_else(installed: Installed) -> None:
    bundle = installed.get("configmap", "demo-trust", METERING)
    installed.kubectl("delete", "meteringsink", "billing", "-n", METERING)
    installed.kubectl("delete", "meteringfabric", "demo", "-n", METERING, f"--timeout={SECONDS}s")
    until("nothing else is left", SECONDS, lambda: set(children(installed)) == {("ConfigMap", METERING, "demo-trust")})
    assert set(installed.names("secret", METERING, OURS)) == {"demo-authority", "demo-history", "demo-relay"}
    installed.apply(*kinds())
    until("the same fabric is ready again", SECONDS, lambda: is_ready(installed))
    again = installed.get("configmap", "demo-trust", METERING)
    assert bundle is not None
    assert again is not None
    assert again["data"] == bundle["data"]


def test_an_uninstalled_release_leaves_no_orphans_and_what_people_own(installed: Installed) -> None:
    installed.helm("uninstall", RELEASE, "-n", SYSTEM, "--wait", "--timeout", f"{SECONDS}s")
    assert set(children(installed)) == {("ConfigMap", METERING, "demo-trust")}
    assert "demo-authority" in installed.names("secret", METERING)
    assert installed.get("meteringfabric", "demo", METERING) is not None
    for kind in ("mutatingadmissionpolicies", "validatingadmissionpolicies", "clusterroles", "clusterrolebindings"):
        left = installed.kubectl("get", kind, "-o", "name", "-l", "app.kubernetes.io/part-of=meterfabric")
        assert not left.strip(), left
    installed.install()
    until("installed again, it goes on", SECONDS, lambda: is_ready(installed))
