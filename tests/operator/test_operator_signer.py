"""Who gets a certificate: a live pod that its fabric admits, for itself, and nobody else."""

from base64 import b64encode
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_operator.keys.signer import Asker, Deny, Sign, asker, fabric_of, judge
from meterfabric_protocol.names import Producer, Sink
from meterfabric_runtime.csr import make_csr
from tests.operator.facts import fabric

WHO = Asker("shop", "web", "web-0", "u-1")
SUBJECT = Producer("meterfabric.local", "metering.demo", "shop", "web", "web-0", "u-1")
KEY = Ed25519PrivateKey.generate()


def request(spiffe: str = SUBJECT.spiffe, **spec: Any) -> dict[str, Any]:
    stamped = {
        "username": "system:serviceaccount:shop:web",
        "extra": {
            "authentication.kubernetes.io/pod-name": ["web-0"],
            "authentication.kubernetes.io/pod-uid": ["u-1"],
        },
        "signerName": "meterfabric.io/producer",
        "usages": ["client auth", "digital signature"],
        "request": b64encode(make_csr(KEY, spiffe)).decode(),
    }
    return {"metadata": {"name": "r"}, "spec": stamped | spec}


def pod(**change: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web-0", "uid": "u-1", "labels": {"meterfabric.io/inject": "true"}}
        | change.get("metadata", {}),
        "spec": {"serviceAccountName": "web"} | change.get("spec", {}),
        "status": {"phase": "Pending"} | change.get("status", {}),
    }


def test_a_live_pod_that_is_admitted_gets_its_own_name() -> None:
    verdict = judge(request(), WHO, fabric(), "metering.demo", pod())
    assert isinstance(verdict, Sign)
    assert verdict.subject == SUBJECT
    assert verdict.key == KEY.public_key()


def test_the_stamps_say_who_asks() -> None:
    assert asker(request()) == WHO


@pytest.mark.parametrize(
    "spec",
    [
        {"username": "alice"},
        {"username": "system:serviceaccount:shop"},
        {"username": "system:node:node-1"},
        {"extra": {}},
        {"extra": None},
        {"extra": {"authentication.kubernetes.io/pod-name": ["web-0"]}},
        {"extra": {"authentication.kubernetes.io/pod-uid": ["u-1", "u-2"]}},
    ],
)
def test_who_is_no_pod_is_denied(spec: dict[str, Any]) -> None:
    verdict = asker(request(**spec))
    assert isinstance(verdict, Deny)
    assert verdict.reason == "NotAPod"


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (None, "NoSuchPod"),
        (pod(metadata={"uid": "u-2"}), "NoSuchPod"),
        (pod(spec={"serviceAccountName": "other"}), "NoSuchPod"),
        (pod(status={"phase": "Succeeded"}), "NoSuchPod"),
        (pod(metadata={"labels": {}}), "NotAdmitted"),
        (pod(metadata={"labels": {"meterfabric.io/inject": "false"}}), "NotAdmitted"),
    ],
)
def test_a_pod_that_isnt_there_or_isnt_admitted_is_denied(found: dict[str, Any] | None, reason: str) -> None:
    verdict = judge(request(), WHO, fabric(), "metering.demo", found)
    assert isinstance(verdict, Deny)
    assert verdict.reason == reason


@pytest.mark.parametrize("joined", ["", "metering.other", "elsewhere.demo"])
def test_a_namespace_that_joined_no_such_fabric_is_denied(joined: str) -> None:
    for known in (None, fabric()):
        verdict = judge(request(), WHO, known, joined, pod())
        assert isinstance(verdict, Deny)
        assert verdict.reason == "NotAdmitted"


def test_a_pod_of_the_fabrics_own_namespace_is_denied() -> None:
    who = Asker("metering", "web", "web-0", "u-1")
    verdict = judge(request(), who, fabric(), "metering.demo", pod())
    assert isinstance(verdict, Deny)
    assert "own namespace" in verdict.message


@pytest.mark.parametrize(
    "spiffe",
    [
        Producer("meterfabric.local", "metering.demo", "shop", "web", "web-1", "u-1").spiffe,
        Producer("meterfabric.local", "metering.demo", "shop", "web", "web-0", "u-2").spiffe,
        Producer("meterfabric.local", "metering.demo", "bank", "web", "web-0", "u-1").spiffe,
        Producer("meterfabric.local", "metering.demo", "shop", "admin", "web-0", "u-1").spiffe,
        Producer("meterfabric.local", "metering.other", "shop", "web", "web-0", "u-1").spiffe,
        Producer("elsewhere.example", "metering.demo", "shop", "web", "web-0", "u-1").spiffe,
        Sink("meterfabric.local", "metering.demo", "billing").spiffe,
    ],
)
def test_nobody_gets_anothers_name(spiffe: str) -> None:
    verdict = judge(request(spiffe), WHO, fabric(), "metering.demo", pod())
    assert isinstance(verdict, Deny)
    assert verdict.reason == "WrongName"


@pytest.mark.parametrize("spec", [{"usages": ["server auth"]}, {"request": "?"}, {"request": "AAAA"}])
def test_a_bad_request_is_denied(spec: dict[str, Any]) -> None:
    verdict = judge(request(**spec), WHO, fabric(), "metering.demo", pod())
    assert isinstance(verdict, Deny)
    assert verdict.reason == "BadRequest"


def test_the_label_of_a_namespace_says_which_fabric() -> None:
    assert fabric_of({"metadata": {"labels": {"meterfabric.io/fabric": "metering.demo"}}}) == "metering.demo"
    assert fabric_of({"metadata": {}}) == fabric_of(None) == ""
