"""Who gets a certificate on a real cluster, and who may not even ask."""

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.wait import until
from tests.kubernetes.installed import METERING, SECONDS, SHOP, Installed, pod
from tests.kubernetes.loads import phase

pytestmark = pytest.mark.cluster


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
