"""Who may not be a producer on a real cluster: they get no certificate, and their records are never taken."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_protocol.names import Producer
from meterfabric_runtime.csr import make_csr
from tests.cluster.wait import until
from tests.kubernetes.installed import (
    METERING,
    RELEASE,
    SECONDS,
    SHOP,
    SYSTEM,
    Installed,
    is_ready,
    kinds,
    namespace,
    pod,
)

pytestmark = pytest.mark.cluster

OUTSIDE, INTRUDER = "outside", "intruder"
ANOTHER = f"{INTRUDER}.reach"


def as_a_user_may_write_it(installed: Installed, name: str, count: int) -> dict[str, Any]:
    """A pod as admission makes it in SHOP, sidecar and all, written out for a namespace that didn't join."""
    found = installed.dry(pod(installed, name, count))
    spec = {each: value for each, value in found["spec"].items() if each not in ("nodeName", "serviceAccount")}
    assert spec["initContainers"][0]["name"] == "meterfabric"
    for container in (*spec["initContainers"], *spec["containers"]):
        container["volumeMounts"] = [
            each for each in container["volumeMounts"] if "kube-api-access" not in each["name"]
        ]
    spec["volumes"] = [each for each in spec["volumes"] if "kube-api-access" not in each["name"]]
    labels = found["metadata"]["labels"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": OUTSIDE, "labels": labels},
        "spec": spec,
    }


@pytest.fixture
def outside(installed: Installed) -> Iterator[Installed]:
    installed.apply(namespace(OUTSIDE))
    until("pods can be made", SECONDS, lambda: installed.get("serviceaccount", "default", OUTSIDE))
    yield installed
    installed.kubectl("delete", "namespace", OUTSIDE, "--wait=false")
    installed.kubectl("delete", "clusterrolebinding", OUTSIDE, "--ignore-not-found")


def reason(installed: Installed, name: str) -> str:
    """What the sidecar of a pod outside last said of the certificate that it has not."""
    lines = [
        json.loads(line) for line in installed.said_by("meterfabric", name, OUTSIDE).splitlines() if line[:1] == "{"
    ]
    told = [str(line.get("reason", "")) for line in lines if line.get("message") == "no certificate"]
    return told[-1] if told else ""


def test_a_pod_of_a_namespace_that_didnt_join_gets_no_certificate_and_its_records_are_never_taken(
    outside: Installed,
) -> None:
    outside.apply(as_a_user_may_write_it(outside, "stranger", 20))
    until("its sidecar took its records", SECONDS, lambda: "sent" in outside.said("stranger", OUTSIDE))
    until("it may not ask", SECONDS, lambda: "403" in reason(outside, "stranger"))
    # The right alone, which somebody with more rights might give, doesn't help either.
    group = f"--group=system:serviceaccounts:{OUTSIDE}"
    outside.kubectl("create", "clusterrolebinding", OUTSIDE, f"--clusterrole={SYSTEM}.{RELEASE}-enrol", group)
    until("it is denied", SECONDS, lambda: "NotAdmitted" in reason(outside, "stranger"))
    # What comes later is there: it isn't for being slow that nothing of the stranger is.
    outside.apply(pod(outside, "friend", 5))
    until("a friend's records are there", SECONDS, lambda: outside.records("friend") == 5)
    assert outside.sql(f"SELECT count(*) FROM meterfabric.logs WHERE origin LIKE '%/{OUTSIDE}/%'") == [["0"]]
    assert outside.records("stranger") == 0


def test_the_author_of_a_fabric_cant_reach_into_a_namespace_that_didnt_join_it(installed: Installed) -> None:
    fabric, _ = kinds()
    fabric["metadata"] = {"name": "reach", "namespace": INTRUDER}
    installed.apply(namespace(INTRUDER), fabric)
    try:

        def producers() -> Any:
            status = (installed.get("meteringfabric", "reach", INTRUDER) or {}).get("status", {})
            return status.get("producers", {}).get("namespaces")

        until("the operator made what it is to make", SECONDS, lambda: producers() is not None)
        assert producers() == []
        everywhere = ("-A", "-l", f"meterfabric.io/fabric={ANOTHER}", "-o", "jsonpath={.items[*].metadata.namespace}")
        for kind in ("configmap", "secret", "networkpolicy", "deployment", "service"):
            assert set(installed.kubectl("get", kind, *everywhere).split()) == {INTRUDER}
        # Where the policy injects a binding stands there; neither pods of another fabric nor of none are its to change.
        if installed.mode == "policy":
            assert installed.get("mutatingadmissionpolicybinding", f"meterfabric.{ANOTHER}")
        for where, fabrics in ((SHOP, {f"{METERING}.demo"}), ("default", set())):
            made = installed.dry(pod(installed, "x", 1, where))
            given = [each for container in made["spec"].get("initContainers", []) for each in container["env"]]
            assert {each["value"] for each in given if each["name"] == "METERFABRIC_SIDECAR_FABRIC"} == fabrics
        assert installed.get("clusterrolebinding", f"meterfabric.{ANOTHER}") is None
    finally:
        installed.kubectl("delete", "meteringfabric", "reach", "-n", INTRUDER, f"--timeout={SECONDS}s")
        installed.kubectl("delete", "namespace", INTRUDER, "--wait=false")


def test_a_request_with_the_stamp_of_a_pod_that_is_gone_is_denied(installed: Installed, tmp_path: Path) -> None:
    """It was made while the pod lived, so the stamp is genuine; another pod has the name by the time it is read."""
    installed.apply(pod(installed, "mortal", 0, then="time.sleep(600)"))
    until("it runs", SECONDS, lambda: phase(installed, "mortal") == "Running")
    held = installed.get("pod", "mortal", SHOP)
    assert held is not None
    scale = ("scale", f"deployment/{RELEASE}-operator", "-n", SYSTEM)
    installed.kubectl(*scale, "--replicas=0")
    operators = "app.kubernetes.io/component=operator"
    until("no operator runs", SECONDS, lambda: not installed.names("pod", SYSTEM, operators))
    try:
        ask(installed, "of-the-dead", "mortal", held["metadata"]["uid"], tmp_path)
        installed.kubectl("delete", "pod", "mortal", "-n", SHOP, "--grace-period=0", "--force")
        installed.apply(pod(installed, "mortal", 0, then="time.sleep(600)"))
    finally:
        installed.kubectl(*scale, "--replicas=2")

    def answered() -> dict[str, str]:
        found = (installed.get("csr", "of-the-dead") or {}).get("status", {}).get("conditions", [])
        return {each["type"]: each["reason"] for each in found}

    until("it is answered", SECONDS, answered)
    assert answered() == {"Denied": "NoSuchPod"}
    installed.kubectl("delete", "pod", "mortal", "-n", SHOP, "--grace-period=0", "--force")
    until("the fabric is ready", SECONDS, lambda: is_ready(installed))


def phase(installed: Installed, name: str) -> str:
    return str((installed.get("pod", name, SHOP) or {}).get("status", {}).get("phase", ""))


def ask(installed: Installed, name: str, pod: str, uid: str, folder: Path) -> None:
    """Make the request that this pod's sidecar would make, with a key of ours and a token of the pod's."""
    bound = ("--bound-object-kind=Pod", f"--bound-object-name={pod}", f"--bound-object-uid={uid}")
    token = installed.kubectl("create", "token", "default", "-n", SHOP, *bound)
    held = json.loads(installed.kubectl("config", "view", "--raw", "--minify", "-o", "json"))
    held["users"] = [{"name": held["users"][0]["name"], "user": {"token": token.strip()}}]
    file = folder / "kubeconfig"
    file.write_text(json.dumps(held))
    subject = Producer("meterfabric.local", f"{METERING}.demo", SHOP, "default", pod, uid)
    request = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": {
            "request": base64.b64encode(make_csr(Ed25519PrivateKey.generate(), subject.spiffe)).decode(),
            "signerName": "meterfabric.io/producer",
            "usages": ["client auth", "digital signature"],
        },
    }
    installed.kubectl("--kubeconfig", str(file), "create", "-f", "-", stdin=json.dumps(request))
