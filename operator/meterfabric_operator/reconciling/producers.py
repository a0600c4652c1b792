"""One look at the pods that meter: whether new ones get a sidecar, who has none, who is replaced."""

from __future__ import annotations

from collections.abc import Sequence

from meterfabric_operator.objects import Key, Object, digest
from meterfabric_operator.reconciling.context import Context
from meterfabric_operator.sidecars.injection import Proof
from meterfabric_operator.wanted import FabricFacts
from meterfabric_operator.watching.observed import MeteringPod


async def prove(context: Context, facts: FabricFacts, sidecar: Object | None, pods: Sequence[MeteringPod]) -> Proof:
    """Whether injection acts: tried at the first look, when something changes that it depends on, and now and then.

    A pod that turns up without a sidecar is such a change. ``sidecar``: what the fabric's status tells admission.
    """
    if sidecar is None:
        return context.injection.known(facts.id)
    binding = context.observed.children.get(Key("MutatingAdmissionPolicyBinding", "", f"meterfabric.{facts.id}"))
    state = {
        "sidecar": sidecar,
        "namespaces": facts.namespaces,
        "binding": binding.state if binding is not None else "",
        "missing": sorted(pod.uid for pod in pods if pod.why),
    }
    return await context.injection.prove(facts.id, facts.namespaces, digest(state))


async def care(context: Context, facts: FabricFacts, proof: Proof, pods: Sequence[MeteringPod]) -> float:
    """Tell pods that have no sidecar, and replace one where the fabric asks. Seconds until another look is due."""
    missing = [pod for pod in pods if pod.why]
    await context.missing.tell(facts.id, missing)
    due = proof.again or context.settings.resync
    if proof.verdict != "Proven":
        context.replacer.unproven(facts.id)
        return due
    wanted = facts.fabric.spec.injection
    if wanted.replace == "Never":
        return due
    wait = await context.replacer.replace(facts.id, wanted.evictions_per_minute, missing)
    return due if wait is None else min(wait, due)
