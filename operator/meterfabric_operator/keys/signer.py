"""Who gets a certificate: a request held against the stamps of the API server and a pod read just now. No I/O.

The API server writes into a request who made it, and, since the token is bound to a pod, that pod's name and UID. The
request itself only says what it wants; what it may have follows from the stamps alone.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from meterfabric_operator.objects import FABRIC, INJECT, Object
from meterfabric_protocol.fabric import MeteringFabric
from meterfabric_protocol.identity import Producer
from meterfabric_runtime.csr import EnrolmentRefused, read_csr

SIGNER: Final = "meterfabric.io/producer"
USAGES: Final = frozenset({"client auth", "digital signature"})
_POD_NAME: Final = "authentication.kubernetes.io/pod-name"
_POD_UID: Final = "authentication.kubernetes.io/pod-uid"


@dataclass(frozen=True)
class Asker:
    """Who made a request, by the API server's stamps."""

    namespace: str
    service_account: str
    pod: str
    uid: str


@dataclass(frozen=True)
class Sign:
    """A certificate for this subject and key is right."""

    subject: Producer
    key: Ed25519PublicKey


@dataclass(frozen=True)
class Deny:
    """It isn't: `reason` in one word, `message` for a person."""

    reason: str
    message: str


def asker(request: Mapping[str, Any]) -> Asker | Deny:
    """Read the stamps of a CertificateSigningRequest."""
    spec = request["spec"]
    parts = spec.get("username", "").split(":")
    extra = spec.get("extra") or {}
    names, uids = extra.get(_POD_NAME, []), extra.get(_POD_UID, [])
    if len(parts) != 4 or parts[:2] != ["system", "serviceaccount"]:
        return Deny("NotAPod", f"made by {spec.get('username')!r}; only a pod's service account may be a producer")
    if len(names) != 1 or len(uids) != 1:
        return Deny("NotAPod", "made with a token that is bound to no pod; sidecars use a projected token")
    return Asker(parts[2], parts[3], names[0], uids[0])


def fabric_of(namespace: Object | None) -> str:
    """The fabric that a namespace joined, NAMESPACE.NAME; empty where none."""
    return str(((namespace or {}).get("metadata", {}).get("labels") or {}).get(FABRIC, ""))


def judge(
    request: Mapping[str, Any], who: Asker, fabric: MeteringFabric | None, joined: str, pod: Object | None
) -> Sign | Deny:
    """Judge a request. ``joined``: what the namespace's label says; ``fabric``: that fabric; ``pod``: read just now."""
    spec = request["spec"]
    if fabric is None or fabric.id != joined:
        return Deny("NotAdmitted", _not_joined(who.namespace, joined))
    if who.namespace == fabric.metadata.namespace:
        return Deny("NotAdmitted", f"no pod of the fabric's own namespace {who.namespace} may be a producer")
    if not set(spec.get("usages") or []) <= USAGES:
        return Deny("BadRequest", f"usages {sorted(spec.get('usages') or [])}: only {sorted(USAGES)} are given")
    if (wrong := _wrong_pod(who, pod)) is not None:
        return wrong
    try:
        asked = read_csr(b64decode(spec["request"]))
    except (EnrolmentRefused, ValueError) as error:
        return Deny("BadRequest", str(error)[:900])
    due = Producer(fabric.spec.trust_domain, fabric.id, who.namespace, who.service_account, who.pod, who.uid)
    if asked.subject != due:
        return Deny("WrongName", f"asks for {asked.subject.spiffe[:400]}, and who asks is {due.spiffe}")
    return Sign(due, asked.public_key)


def _not_joined(namespace: str, joined: str) -> str:
    if not joined:
        return f"namespace {namespace} joined no fabric: label it {FABRIC}=NAMESPACE.NAME"
    return f"namespace {namespace} joined {joined}, and there is no such MeteringFabric here"


def _wrong_pod(who: Asker, pod: Object | None) -> Deny | None:
    if pod is None or pod["metadata"]["uid"] != who.uid:
        return Deny("NoSuchPod", f"there is no pod {who.namespace}/{who.pod} with UID {who.uid}")
    if pod["spec"].get("serviceAccountName") != who.service_account:
        return Deny("NoSuchPod", f"pod {who.namespace}/{who.pod} doesn't run as {who.service_account}")
    if (pod["metadata"].get("labels") or {}).get(INJECT) != "true":
        return Deny("NotAdmitted", f'pod {who.namespace}/{who.pod} has no label {INJECT}: "true"')
    if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return Deny("NoSuchPod", f"pod {who.namespace}/{who.pod} has ended")
    return None
