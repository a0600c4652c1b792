"""One certificate request answered: read live, held against a pod read live, then signed or denied."""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from meterfabric_operator.keys import signer
from meterfabric_operator.objects import Key, Object
from meterfabric_operator.reconciling.context import Context
from meterfabric_operator.reconciling.reconcile_fabric import facts_of
from meterfabric_operator.specs import read_identity
from meterfabric_protocol.fabric import FabricError, MeteringFabric
from meterfabric_protocol.notation import seconds
from meterfabric_runtime import roots

log = logging.getLogger(__name__)


async def reconcile_request(context: Context, key: Key) -> None:
    """Answer a request, unless it is answered. Raises what keeps it from being answered; it is tried again then."""
    request = await context.cluster.get(key)
    if request is None or request["spec"]["signerName"] != signer.SIGNER:
        return
    status: Object = request.get("status") or {}
    final = {condition["type"] for condition in status.get("conditions") or []}
    if status.get("certificate") or final & {"Denied", "Failed"}:
        return
    who = signer.asker(request)
    if isinstance(who, signer.Deny):
        await _deny(context, key, request, who)
        return
    joined = signer.fabric_of(await context.cluster.get(Key("Namespace", "", who.namespace)))
    if not _served(context.settings.namespaces, who.namespace, joined):
        return
    above = await _fabric(context, joined)
    pod = await context.cluster.get(Key("Pod", who.namespace, who.pod))
    verdict = signer.judge(request, who, above[1] if above else None, joined, pod)
    if isinstance(verdict, signer.Deny) or above is None:
        assert isinstance(verdict, signer.Deny)
        await _deny(context, key, request, verdict)
        if pod is not None:
            await context.events.tell(pod, "Warning", "CertificateDenied", f"{verdict.reason}: {verdict.message}")
        return
    body, fabric = above
    held = (await context.secrets.read(facts_of(context, body, fabric))).roots
    now = context.now()
    lifetime = timedelta(seconds=seconds(fabric.spec.identity.certificate_lifetime))
    chain = roots.sign(held.issuing(now), verdict.subject, verdict.key, now.replace(microsecond=0), lifetime)
    if "Approved" not in final:
        message = f"pod {who.namespace}/{who.pod} is one that fabric {fabric.id} admits"
        request = await context.cluster.patch(key, _with(request, "Approved", "Admitted", message), "approval")
    certificate = {"certificate": b64encode(chain).decode()}
    version = request["metadata"]["resourceVersion"]
    await context.cluster.patch(key, {"metadata": {"resourceVersion": version}, "status": certificate}, "status")
    log.info("signed", extra={"request": key.name, "subject": verdict.subject.spiffe})


def _served(namespaces: Sequence[str], of_pod: str, joined: str) -> bool:
    """Whether a request is ours to answer: another operator may serve the pod's namespace, or the fabric's."""
    places = {of_pod, joined.partition(".")[0]} - {""}
    return not namespaces or places <= set(namespaces)


async def _fabric(context: Context, joined: str) -> tuple[Object, MeteringFabric] | None:
    """The fabric that a namespace joined, read live: a request may come before watching told of the fabric."""
    namespace, _, name = joined.partition(".")
    if not namespace or not name or "/" in joined:
        return None
    body = await context.cluster.get(Key("MeteringFabric", namespace, name))
    if body is None or body["metadata"].get("deletionTimestamp"):
        return None
    try:
        return body, read_identity(body)[0]
    except FabricError:
        return None


async def _deny(context: Context, key: Key, request: Object, why: signer.Deny) -> None:
    """A request that a person approved can't be denied any more; it fails."""
    approved = any(each["type"] == "Approved" for each in (request.get("status") or {}).get("conditions") or [])
    kind, part = ("Failed", "status") if approved else ("Denied", "approval")
    await context.cluster.patch(key, _with(request, kind, why.reason, why.message), part)
    log.warning("denied", extra={"request": key.name, "reason": why.reason, "detail": why.message})


def _with(request: Object, kind: str, reason: str, message: str) -> dict[str, Any]:
    condition = {"type": kind, "status": "True", "reason": reason, "message": message[:1000]}
    held = (request.get("status") or {}).get("conditions") or []
    version = request["metadata"]["resourceVersion"]
    return {"metadata": {"resourceVersion": version}, "status": {"conditions": [*held, condition]}}
