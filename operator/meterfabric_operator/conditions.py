"""Conditions as the status of a fabric or sink holds them: what holds, why, and what to do where it doesn't."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from meterfabric_operator.objects import Object
from meterfabric_operator.observed import Child, MeteringPod

Truth = Literal["True", "False", "Unknown"]
_SHOWN = 5
"""So many names stand in a message."""


@dataclass(frozen=True)
class Condition:
    """One condition, without its times."""

    type: str
    status: Truth
    reason: str
    message: str


def relays_available(child: Child | None, wanted: int) -> Condition:
    """Whether at least one relay serves, and all are of the newest version."""
    kind = "RelaysAvailable"
    if child is None:
        return Condition(kind, "False", "NotMade", "the relays' Deployment isn't there yet")
    if child.ready == 0:
        message = f"0 of {wanted} relays are ready; look at the pods of the relays' Deployment"
        return Condition(kind, "False", "NoneReady", message)
    if child.ready < wanted or not child.settled:
        return Condition(kind, "True", "Progressing", f"{child.ready} of {wanted} relays are ready")
    return Condition(kind, "True", "AllReady", f"{child.ready} of {wanted} relays are ready")


def sinks_reachable(ready: Mapping[str, int]) -> Condition:
    """Whether every sink has a worker that reaches its destination and a relay. ``ready``: workers by sink."""
    kind = "SinksReachable"
    if not ready:
        message = "no MeteringSink names this fabric; make one, or nothing can be delivered"
        return Condition(kind, "False", "NoSinks", message)
    if away := sorted(name for name, count in ready.items() if count == 0):
        return Condition(
            kind, "False", "SinksAway", f"no worker is ready of: {_listed(away)}; look at its MeteringSink"
        )
    return Condition(kind, "True", "AllReachable", f"{len(ready)} sinks have workers that are ready")


def identity_ready(problem: str) -> Condition:
    """Whether certificates can be given. ``problem``: why not, or empty."""
    if problem:
        return Condition("IdentityReady", "False", "KeysUnusable", problem)
    return Condition("IdentityReady", "True", "Issuing", "certificates are given to pods that are admitted")


def producers_injected(pods: Iterable[MeteringPod], problem: str = "") -> Condition:
    """Whether every pod that asks for a sidecar has one. ``problem``: why the policy doesn't act, or empty."""
    kind = "ProducersInjected"
    missing = sorted(f"{pod.namespace}/{pod.name} ({pod.why})" for pod in pods if pod.why)
    if problem:
        return Condition(kind, "False", "PolicyInactive", problem)
    if missing:
        message = f"pods without a sidecar: {_listed(missing)}; delete them, so that they are made anew"
        return Condition(kind, "False", "SidecarsMissing", message)
    return Condition(kind, "True", "AllInjected", "every pod that asks for a sidecar has one")


def ready(parts: Iterable[Condition]) -> Condition:
    """All that a fabric needs, or the first that fails."""
    for part in parts:
        if part.status != "True":
            return Condition("Ready", "False", part.reason, part.message)
    return Condition("Ready", "True", "Ready", "records are taken and delivered")


def paused(generation_note: str = "") -> Condition:
    """What a paused fabric says."""
    message = "spec.reconcile is Paused: nothing is changed, also what somebody changes by hand"
    return Condition("Ready", "Unknown", "Paused", message + generation_note)


def merged(held: Iterable[Mapping[str, Any]], wanted: Iterable[Condition], generation: int, now: str) -> list[Object]:
    """The list for a status: times stay where a condition's status stays; others' conditions are left out."""
    before = {each["type"]: each for each in held}
    made = []
    for condition in wanted:
        old = before.get(condition.type)
        same = old is not None and old["status"] == condition.status
        made.append(
            {
                "type": condition.type,
                "status": condition.status,
                "observedGeneration": generation,
                "lastTransitionTime": old["lastTransitionTime"] if same and old is not None else now,
                "reason": condition.reason,
                "message": condition.message[:32_000],
            }
        )
    return made


def changed(held: Iterable[Mapping[str, Any]], made: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of `made` whose status or reason is new: what is worth an event."""
    before = {each["type"]: (each["status"], each["reason"]) for each in held}
    return [each for each in made if before.get(each["type"]) != (each["status"], each["reason"])]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
