"""One fabric made what it is to be: keys, children, status. Called again whenever anything of it changes."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec

from meterfabric_operator import names
from meterfabric_operator.admission import sidecar_values
from meterfabric_operator.children import fabric_children, relay_deployment, trust_bundle
from meterfabric_operator.keys.identity import IdentityError
from meterfabric_operator.keys.secret_keeper import ROTATE, FabricKeys
from meterfabric_operator.objects import FINALIZER, Key, Object, key_of, to_time
from meterfabric_operator.reconciling.context import Context
from meterfabric_operator.reconciling.deletion import delete_fabric
from meterfabric_operator.reconciling.producers import care, prove
from meterfabric_operator.reconciling.reporting import report
from meterfabric_operator.scaling.outcome import shown
from meterfabric_operator.specs import read_identity, read_policy, unknown_fields
from meterfabric_operator.status import conditions as c
from meterfabric_operator.status.books import of_fabric, summed
from meterfabric_operator.wanted import FabricFacts
from meterfabric_operator.watching.observed import Child
from meterfabric_protocol.fabric import FabricError, MeteringFabric

_LOOK_AGAIN = 10.0


def facts_of(context: Context, body: Object, fabric: MeteringFabric) -> FabricFacts:
    """What is known around a fabric, without its keys. A namespace that joined and isn't served is none of ours."""
    served = context.settings.namespaces
    return FabricFacts(
        fabric,
        body["metadata"]["uid"],
        context.settings,
        sinks=tuple(
            read_policy(sink)
            for sink in context.observed.sinks_of(fabric.metadata.namespace, fabric.metadata.name)
            if not sink["metadata"].get("deletionTimestamp")
        ),
        namespaces=tuple(each for each in context.observed.namespaces(fabric.id) if not served or each in served),
    )


async def reconcile_fabric(context: Context, key: Key) -> None:
    """Look at a fabric and do what is to be done. Raises what keeps it from being done; it is tried again then."""
    body = context.observed.fabrics.get(key)
    if body is None:
        return
    try:
        fabric, problem = read_identity(body)
    except FabricError as error:
        await report(context, body, [c.spec_invalid(error)], {})
        return
    facts = facts_of(context, body, fabric)
    if body["metadata"].get("deletionTimestamp"):
        await delete_fabric(context, body, facts)
        return
    if fabric.spec.reconcile == "Paused":
        await report(context, body, [c.paused()], {})
        return
    if problem is None and fabric.spec.relay.replicas is None:
        fabric = _numbered(fabric, _relays(context, facts))
        facts = dataclasses.replace(facts, fabric=fabric)
    await _fill_in(context, body, fabric.spec.relay.replicas)
    identity = await _identity(context, body, facts)
    if isinstance(identity, FabricKeys):
        facts = dataclasses.replace(facts, trust=identity.roots.bundle, relay_public=identity.relay_public)
    if problem is not None:
        # What else was made stays as it is.
        if facts.trust:
            await context.applier.apply([trust_bundle.build(facts)])
        await report(context, body, [c.spec_invalid(problem), _identity_ready(facts, identity)], {})
        context.later(key, _LOOK_AGAIN if isinstance(identity, IdentityError) else context.settings.resync)
        return
    if isinstance(identity, FabricKeys):
        wanted = fabric_children.of_fabric(facts)
        await context.applier.apply(wanted)
        held = context.observed.children_of(fabric.id)
        await context.applier.prune(map(key_of, wanted), [each for each, child in held.items() if not child.sink])
    due = await _report(context, body, facts, identity)
    # What a person brings back may lack the label by which it would be seen.
    context.later(key, _LOOK_AGAIN if isinstance(identity, IdentityError) else due)


def _relays(context: Context, facts: FabricFacts) -> Child | None:
    """The relays' Deployment as it was seen last."""
    return context.observed.children.get(Key("Deployment", facts.namespace, names.relay(facts.name)))


def _numbered(fabric: MeteringFabric, relays: Child | None) -> MeteringFabric:
    """With the number of relays that there is: whoever wrote it left it out, and so means no other."""
    number = relays.replicas if relays is not None and relays.replicas else fabric.spec.relay.count
    relay = msgspec.structs.replace(fabric.spec.relay, replicas=number)
    return msgspec.structs.replace(fabric, spec=msgspec.structs.replace(fabric.spec, relay=relay))


async def _fill_in(context: Context, body: Object, replicas: int | None) -> None:
    """Write what a fabric must hold and doesn't: our finalizer, and the number of relays, since without it there is no
    scale subresource to read or write. None: no number is to be written."""
    metadata = body["metadata"]
    held = metadata.get("finalizers") or []
    change: dict[str, Any] = {}
    if FINALIZER not in held:
        change["metadata"] = {"finalizers": [*held, FINALIZER]}
    if replicas is not None and "replicas" not in ((body.get("spec") or {}).get("relay") or {}):
        change["spec"] = {"relay": {"replicas": replicas}}
    if change:
        change["metadata"] = {**change.get("metadata", {}), "resourceVersion": metadata["resourceVersion"]}
        await context.cluster.patch(key_of(body), change)


async def _identity(context: Context, body: Object, facts: FabricFacts) -> FabricKeys | IdentityError:
    """The fabric's keys, or why it has none."""
    bundle = Key("ConfigMap", facts.namespace, names.trust(facts.name))
    try:
        keys = await context.secrets.keep(facts, _roots_wanted(body), bundle in context.observed.children)
    except IdentityError as error:
        return error
    if keys.roots.replaces:
        await context.events.tell(body, "Warning", "AuthorityLost", c.authority_replaced(facts.name, keys.replaced))
    return keys


def _identity_ready(facts: FabricFacts, identity: FabricKeys | IdentityError) -> c.Condition:
    return c.identity_ready(facts.name, identity if isinstance(identity, IdentityError) else identity.replaced)


def _roots_wanted(body: Object) -> int:
    text = (body["metadata"].get("annotations") or {}).get(ROTATE, "1")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 1


async def _report(context: Context, body: Object, facts: FabricFacts, identity: FabricKeys | IdentityError) -> float:
    """Write what is; seconds until another look is due."""
    children = context.observed.children_of(facts.id)
    relays = _relays(context, facts)
    pods = context.observed.pods(facts.namespaces)
    needed = [
        _identity_ready(facts, identity),
        c.relays_available(relays, facts.fabric.spec.relay.count),
        c.sinks_reachable({sink.metadata.name: _ready(children, sink.metadata.name) for sink in facts.sinks}),
    ]
    missing = sum(bool(pod.why) for pod in pods)
    books = of_fabric(context.observed, facts)
    more: dict[str, Any] = {
        "relays": {
            "replicas": relays.made if relays else 0,
            "ready": relays.ready if relays else 0,
            "selector": ",".join(f"{name}={value}" for name, value in sorted(relay_deployment.selector(facts).items())),
        },
        "producers": {
            "namespaces": list(facts.namespaces),
            "injected": len(pods) - missing,
            "missing": missing,
        },
        "sinks": [
            {"name": name, "ready": _ready(children, name) > 0, **({"books": each.status()} if each else {})}
            for name, each in books.items()
        ],
    }
    if not isinstance(identity, IdentityError):
        more["certificateExpiry"] = min([to_time(identity.roots.not_after), *_expiries(context, facts)])
        more["sidecar"] = sidecar_values.build(facts)
    proof = await prove(context, facts, more.get("sidecar"), pods)
    total = summed(each for each in books.values() if each is not None)
    if total is not None:
        more["books"] = total.status()
    unheard = [name for name, each in books.items() if each is None]
    found = [c.ready(needed), *needed, c.producers_injected(pods, proof), c.books_balanced(total, unheard)]
    found += c.fields_ignored(unknown_fields(body))
    if facts.fabric.spec.relay.autoscaling is None:
        more["autoscaling"] = None
    else:
        held = body.get("status") or {}
        scaling, more["autoscaling"] = shown(context.observed.scaling.get(key_of(body)), held)
        found += scaling
    await report(context, body, found, more)
    return min(await care(context, facts, proof, pods), context.settings.resync)


def _expiries(context: Context, facts: FabricFacts) -> list[str]:
    """When its sinks' certificates run out, as their own statuses say."""
    bodies = context.observed.sinks_of(facts.namespace, facts.name)
    found = [(body.get("status") or {}).get("certificateExpiry") for body in bodies]
    return [each for each in found if each]


def _ready(children: dict[Key, Child], sink: str) -> int:
    return sum(child.ready for child in children.values() if child.sink == sink)
