"""Conditions as the status of a fabric or sink holds them: what holds, why, and what to do where it doesn't."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from meterfabric_operator import names
from meterfabric_operator.keys.identity import REPLACED, IdentityError
from meterfabric_operator.objects import Object
from meterfabric_operator.sidecars.injection import Proof
from meterfabric_operator.status.books import Books
from meterfabric_operator.watching.observed import Child, MeteringPod
from meterfabric_protocol.fabric import FabricError

Truth = Literal["True", "False", "Unknown"]
OF_FABRIC: Final = (
    "Ready",
    "RelaysAvailable",
    "SinksReachable",
    "IdentityReady",
    "ProducersInjected",
    "BooksBalanced",
)
"""What every fabric's status says, always all of it."""
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


def identity_ready(fabric: str, found: IdentityError | str = "") -> Condition:
    """Whether certificates can be given. ``found``: why not; or when a lost authority was replaced, empty for never."""
    if isinstance(found, IdentityError):
        return Condition("IdentityReady", "False", found.reason, str(found))
    if found:
        return Condition("IdentityReady", "True", "AuthorityReplaced", authority_replaced(fabric, found))
    return Condition("IdentityReady", "True", "Issuing", "certificates are given to pods that are admitted")


def authority_replaced(fabric: str, when: str) -> str:
    """What a person should know of an authority that was lost."""
    secret = names.authority(fabric)
    return (
        f"Secret {secret} was lost, and another root issues since {when}; records signed under the roots before it are"
        " still verified. If nobody meant to delete it, find out who could. Once you know: kubectl annotate secret"
        f" {secret} {REPLACED}-"
    )


def producers_injected(pods: Iterable[MeteringPod], proof: Proof) -> Condition:
    """Whether every pod that asks for a sidecar has one, and new ones get it, as a trial showed."""
    kind = "ProducersInjected"
    missing = sorted(f"{pod.namespace}/{pod.name} ({pod.why})" for pod in pods if pod.why)
    named = f"{len(missing)} pods are without a sidecar: {_listed(missing)}"
    if proof.verdict == "Inactive":
        message = (
            f"a pod made on trial in namespace {proof.namespace} (a dry run, nothing is kept) came back without a"
            " sidecar, and so do those that people make: see that the chart's MutatingAdmissionPolicy and the fabric's"
            " binding are there and that the API server serves them (Kubernetes 1.36 or newer), or that the webhook's"
            " pods are ready, where injection.mode is webhook"
        )
        return Condition(kind, "False", "PolicyInactive", f"{message}; {named}" if missing else message)
    if missing:
        message = f"{named}; delete them, so that they are made anew, or let spec.injection.replace be Evict"
        return Condition(kind, "False", "SidecarsMissing", message)
    if proof.verdict == "Refused":
        message = f"whether new pods get a sidecar isn't known, {proof.namespace} takes no pod on trial: {proof.said}"
        return Condition(kind, "Unknown", "TrialRefused", message)
    if proof.verdict == "Proven":
        return Condition(kind, "True", "AllInjected", "every pod that asks for a sidecar has one, and new ones get it")
    if proof.verdict == "Nowhere":
        message = "no namespace has joined; one does by its label meterfabric.io/fabric: NAMESPACE.NAME of this fabric"
        return Condition(kind, "True", "NoNamespace", message)
    return Condition(kind, "Unknown", "Trying", "a pod is made on trial, to see whether it gets a sidecar")


def books_balanced(books: Books | None, unheard: Sequence[str]) -> Condition:
    """Whether the fate of every record is known and nothing vanished. ``unheard``: sinks without books yet."""
    kind = "BooksBalanced"
    if books is None or unheard:
        of = f" of: {_listed(sorted(unheard))}" if unheard else ""
        message = f"no books were heard yet{of}; a sink is asked once it has a worker that is ready"
        return Condition(kind, "Unknown", "NotHeard", message)
    if count := books.count("unexplained"):
        message = f"{count} records were passed over and nothing says why; kubectl meterfabric audit tells which"
        return Condition(kind, "False", "RecordsUnexplained", message)
    if books.unclosed:
        count = books.count("abandoned")
        by = _listed([f"{pod} ({records})" for pod, records in books.abandoned_by.items()])
        message = (
            f"{books.unclosed} logs were not closed before their pods were gone: {count} records of them were heard of"
            f" and never came, others may have been taken that no sink heard of; by pod: {by}"
        )
        return Condition(kind, "False", "RecordsAbandoned", message)
    if count := books.count("missing"):
        message = f"{count} records were lost with a sidecar's disk; kubectl meterfabric audit tells whose"
        return Condition(kind, "False", "RecordsMissing", message)
    if given := [f"{books.count(fate)} {fate}" for fate in ("expired", "damaged", "lost") if books.count(fate)]:
        message = f"the fate of every record is known, but not all arrived: {', '.join(given)}"
        return Condition(kind, "True", "SomeGivenUp", message)
    return Condition(kind, "True", "Balanced", "every record has arrived or is on its way")


def ready(parts: Iterable[Condition]) -> Condition:
    """All that a fabric needs, or the first that fails."""
    for part in parts:
        if part.status != "True":
            return Condition("Ready", "False", part.reason, part.message)
    return Condition("Ready", "True", "Ready", "records are taken and delivered")


def spec_invalid(problem: FabricError) -> Condition:
    """What the schema let in and can't be used all the same."""
    return Condition("Ready", "False", "SpecInvalid", str(problem))


def fields_ignored(fields: list[str]) -> list[Condition]:
    """What this operator is too old for, if anything."""
    if not fields:
        return []
    message = (
        f"not acted upon, since only a newer version knows them: {_listed(fields)}; upgrade the operator to the version"
        " of the kinds"
    )
    return [Condition("FieldsIgnored", "True", "NewerVersion", message)]


def paused(generation_note: str = "") -> Condition:
    """What a paused fabric says."""
    message = "spec.reconcile is Paused: nothing is changed, also what somebody changes by hand"
    return Condition("Ready", "Unknown", "Paused", message + generation_note)


def merged(
    held: Iterable[Mapping[str, Any]],
    wanted: Sequence[Condition],
    generation: int,
    now: str,
    always: Sequence[str] = (),
) -> list[Object]:
    """The list for a status: times stay where a condition's status stays; others' conditions are left out.

    ``always``: types that are never left out. What wasn't looked at stays as it was held, with the generation of then.
    """
    before = {each["type"]: each for each in held}
    unseen = [name for name in always if name not in {each.type for each in wanted}]
    made = [dict(before[name]) for name in unseen if name in before]
    first = [Condition(name, "Unknown", wanted[0].reason, wanted[0].message) for name in unseen if name not in before]
    for condition in [*wanted, *first]:
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
    return sorted(made, key=lambda each: always.index(each["type"]) if each["type"] in always else len(always))


def changed(held: Iterable[Mapping[str, Any]], made: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of `made` whose status or reason is new: what is worth an event."""
    before = {each["type"]: (each["status"], each["reason"]) for each in held}
    return [each for each in made if before.get(each["type"]) != (each["status"], each["reason"])]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
