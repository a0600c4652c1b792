"""What each object of ours says of itself: its name and place, whose it is, and with whom it goes."""

from __future__ import annotations

from meterfabric_operator import names
from meterfabric_operator.objects import SINK, Object, labels, owned_by
from meterfabric_operator.wanted import FabricFacts, SinkFacts


def of_fabric(facts: FabricFacts, name: str, component: str) -> Object:
    """Of what runs for a fabric, beside it: the garbage collector removes it with the fabric."""
    owners = owned_by("MeteringFabric", facts.name, facts.uid)
    return {**elsewhere(facts, name, component, facts.namespace), "ownerReferences": owners}


def of_sink(facts: SinkFacts) -> Object:
    """Of what runs for a sink, and goes with it."""
    return {
        "name": names.sink(facts.name),
        "namespace": facts.of.namespace,
        "labels": labels(facts.of.id, "sink", **{SINK: facts.name}),
        "ownerReferences": owned_by("MeteringSink", facts.name, facts.uid),
    }


def kept(facts: FabricFacts, name: str) -> Object:
    """Of what proves old records: no owner, for `spec.identity.onDelete` says whether it goes with the fabric."""
    return elsewhere(facts, name, "identity", facts.namespace)


def elsewhere(facts: FabricFacts, name: str, component: str, namespace: str = "") -> Object:
    """Of what an owner can't take along, being in another namespace or in none; a finalizer removes it."""
    place = {"namespace": namespace} if namespace else {}
    return {"name": name, **place, "labels": labels(facts.id, component)}
