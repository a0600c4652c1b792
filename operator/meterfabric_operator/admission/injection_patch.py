"""The same changes to a pod as a JSON Patch (RFC 6902), for the webhook: what `injection_policy` says in CEL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from meterfabric_operator import names
from meterfabric_operator.admission.changes import First, Last, Listed, Marked, Raised, Step, pointer, steps
from meterfabric_operator.admission.sidecar import Values, fixed_environment, spool_on_claim, spool_on_node
from meterfabric_operator.objects import Object


def concerns(pod: Mapping[str, Any]) -> bool:
    """Whether the conditions of `changes.MATCHED` hold."""
    spec = pod["spec"]
    present = any(each["name"] == names.SIDECAR for each in spec.get("initContainers") or [])
    return not spec.get("hostNetwork", False) and not present


def build(pod: Mapping[str, Any], fabric: Mapping[str, Any], image: str, pull_policy: str) -> list[Object]:
    """The operations that give ``pod`` its sidecar; none where ``fabric``, a MeteringFabric, was never reconciled."""
    given = (fabric.get("status") or {}).get("sidecar")
    return _operations(pod, steps(_values(fabric["metadata"], given, image, pull_policy))) if given else []


def _values(metadata: Mapping[str, Any], given: Mapping[str, Any], image: str, pull_policy: str) -> Values:
    fabric = f"{metadata['namespace']}.{metadata['name']}"
    claim = given.get("claim")
    if claim is None:
        spool = spool_on_node(given["ephemeralStorage"])
    else:
        spool = spool_on_claim(claim["size"], claim.get("storageClassName"))
    told = [{"name": each["name"], "value": each["value"]} for each in given["environment"]]
    return Values(
        fabric=fabric,
        image=image,
        pull_policy=pull_policy,
        environment=[*told, *fixed_environment()],
        cpu=given["cpu"],
        memory=given["memory"],
        ephemeral_storage=given["ephemeralStorage"],
        spool=spool,
        live=names.sidecars(fabric),
        grace=given["gracePeriodSeconds"],
    )


def _operations(pod: Mapping[str, Any], wanted: Iterable[Step]) -> list[Object]:
    spec, metadata = pod["spec"], pod["metadata"]
    made: list[Object] = []
    there = {("spec", field) for field in spec} | {("metadata", field) for field in metadata}

    def add(*path: str, value: Any) -> None:
        made.append({"op": "add", "path": pointer(*path), "value": value})

    def need(where: str, field: str, empty: Any) -> None:
        if (where, field) not in there:
            there.add((where, field))
            add(where, field, value=empty)

    for step in wanted:
        match step:
            case First(field, value) | Last(field, value):
                need("spec", field, [])
                add("spec", field, "0" if isinstance(step, First) else "-", value=value)
            case Raised(field, default, value):
                add("spec", field, value=spec.get(field, default) + value)
            case Marked(annotation, value):
                need("metadata", "annotations", {})
                add("metadata", "annotations", annotation, value=value)
            case Listed(annotation, value):
                need("metadata", "annotations", {})
                held = (metadata.get("annotations") or {}).get(annotation)
                add("metadata", "annotations", annotation, value=value if held is None else f"{held},{value}")
    return made
