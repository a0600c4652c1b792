"""One sink made what it is to be: its key and certificate, its workers, its status."""

from __future__ import annotations

import dataclasses
from typing import Any

from meterfabric_operator.children import fabric_children, sink_workload
from meterfabric_operator.keys.identity import AuthorityMissing, IdentityError, SinkIdentity
from meterfabric_operator.objects import Key, Object, key_of, to_time
from meterfabric_operator.reconciling.context import Context
from meterfabric_operator.reconciling.reconcile_fabric import facts_of
from meterfabric_operator.reconciling.reporting import report
from meterfabric_operator.specs import read_identity, read_sink, unknown_fields
from meterfabric_operator.status import conditions as c
from meterfabric_operator.status.books import of_sink
from meterfabric_operator.wanted import SinkFacts
from meterfabric_protocol.fabric import FabricError


async def reconcile_sink(context: Context, key: Key) -> None:
    """Look at a sink and do what is to be done. Raises what keeps it from being done; it is tried again then."""
    body = context.observed.sinks.get(key)
    if body is None or body["metadata"].get("deletionTimestamp"):
        return
    try:
        sink = read_sink(body)
        above = context.observed.fabrics.get(Key("MeteringFabric", key.namespace, sink.spec.fabric))
        fabric, problem = read_identity(above) if above is not None else (None, None)
    except FabricError as error:
        await report(context, body, [c.spec_invalid(error)], {})
        return
    if above is None or fabric is None or above["metadata"].get("deletionTimestamp"):
        message = f"there is no MeteringFabric {sink.spec.fabric} in {key.namespace}; make it, or name another"
        await report(context, body, [c.Condition("Ready", "False", "NoFabric", message)], {})
        return
    if fabric.spec.reconcile == "Paused":
        await report(context, body, [c.paused()], {})
        return
    facts = SinkFacts(sink, body["metadata"]["uid"], facts_of(context, above, fabric))
    try:
        keys = await context.secrets.read(facts.of)
        identity = await context.secrets.sink(facts, keys.roots)
    except AuthorityMissing as error:
        # Workers that run do without it, and what they say of themselves stays; the fabric says what is wrong.
        if not body.get("status"):
            await report(context, body, [c.Condition("Ready", "False", "NotMade", str(error))], {})
        raise
    except IdentityError as error:
        await report(context, body, [c.Condition("Ready", "False", error.reason, str(error))], {})
        return
    if problem is not None:
        # Its key and certificate are as they should be; what workers there are depends on the fabric's spec.
        await report(context, body, [c.spec_invalid(problem)], {})
        context.later(key, context.settings.resync)
        return
    of = dataclasses.replace(facts.of, trust=keys.roots.bundle, relay_public=keys.relay_public)
    facts = dataclasses.replace(facts, of=of, url_version=await context.secrets.url_version(facts))
    wanted = fabric_children.of_sink(facts)
    await context.applier.apply(wanted)
    held = context.observed.children_of(of.id)
    await context.applier.prune(map(key_of, wanted), [each for each, child in held.items() if child.sink == facts.name])
    await _report(context, body, facts, identity)
    context.later(key, context.settings.resync)


async def _report(context: Context, body: Object, facts: SinkFacts, identity: SinkIdentity) -> None:
    workload = context.observed.workload(key_of(body))
    ready, replicas = (workload.ready, workload.replicas) if workload else (0, 0)
    wanted = facts.sink.spec.workers
    if ready:
        found = c.Condition(
            "Ready", "True", "WorkersReady", f"{ready} of {wanted} workers reach destination and relays"
        )
    else:
        message = f"0 of {wanted} workers are ready: kubectl describe pods -l {_selector(facts)}, then their logs"
        found = c.Condition("Ready", "False", "NoWorkerReady" if workload else "NotMade", message)
    more: dict[str, Any] = {
        "workers": {"replicas": replicas, "ready": ready, "selector": _selector(facts)},
        "certificateExpiry": to_time(identity.not_after),
    }
    if (books := of_sink(context.observed, key_of(body))) is not None:
        more["books"] = books.status()
    await report(context, body, [found, *c.fields_ignored(unknown_fields(body))], more)


def _selector(facts: SinkFacts) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted(sink_workload.selector(facts).items()))
