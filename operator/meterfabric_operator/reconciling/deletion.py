"""The end of a fabric: it waits for what is pending, then what the garbage collector can't remove is removed."""

from __future__ import annotations

from meterfabric_operator import names
from meterfabric_operator.objects import FINALIZER, LET_GO, Key, Object, key_of
from meterfabric_operator.reconciling.context import Context
from meterfabric_operator.reconciling.reporting import report
from meterfabric_operator.status import conditions as c
from meterfabric_operator.status.books import of_fabric, summed
from meterfabric_operator.wanted import FabricFacts

_LOOK_AGAIN = 10.0


async def delete_fabric(context: Context, body: Object, facts: FabricFacts) -> None:
    """Take a fabric down, or say why it waits."""
    key, metadata = key_of(body), body["metadata"]
    if FINALIZER not in metadata.get("finalizers", []):
        return
    heard = summed(each for each in of_fabric(context.observed, facts).values() if each is not None)
    told = (body.get("status") or {}).get("books") or {}
    pending = heard.count("pending") if heard is not None else int(told.get("pending", 0))
    if pending and (metadata.get("annotations") or {}).get(LET_GO) != "true":
        message = (
            f"{pending} records are pending: bring its sinks back, or give them up with"
            f" kubectl annotate meteringfabric {facts.name} {LET_GO}=true"
        )
        books = {"books": heard.status()} if heard is not None else {}
        await report(context, body, [c.Condition("Ready", "False", "WaitsForRecords", message)], books)
        context.later(key, _LOOK_AGAIN)
        return
    held = context.observed.children_of(facts.id)
    kept = {Key("ConfigMap", facts.namespace, names.trust(facts.name))}
    if facts.fabric.spec.identity.on_delete == "Delete":
        kept = set()
        for name in (names.authority(facts.name), names.history(facts.name), names.relay(facts.name)):
            await context.cluster.delete(Key("Secret", facts.namespace, name))
    # Also what owner references would remove: a pod that stops before its rights go can still say so.
    await context.applier.prune(kept, [each for each, child in held.items() if not child.sink])
    context.injection.forget(facts.id)
    finalizers = [each for each in metadata["finalizers"] if each != FINALIZER]
    patch = {"metadata": {"finalizers": finalizers, "resourceVersion": metadata["resourceVersion"]}}
    await context.cluster.patch(key, patch)
