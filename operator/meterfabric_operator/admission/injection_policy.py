"""The MutatingAdmissionPolicy that puts sidecars into pods: inside of the API server, with no process of ours.

Its parameter is the MeteringFabric of the binding, of which it reads `status.sidecar` and nothing else. The image is
the release's, written into the policy: who may write fabrics can't choose what runs in others' namespaces.
"""

from __future__ import annotations

from itertools import groupby

from meterfabric_operator.admission.cel import Cel, written
from meterfabric_operator.admission.changes import (
    MATCHED,
    RULE,
    First,
    Last,
    Listed,
    Marked,
    Raised,
    Step,
    pointer,
    steps,
)
from meterfabric_operator.admission.sidecar import Values, fixed_environment, spool_on_claim, spool_on_node
from meterfabric_operator.objects import FABRIC, GROUP, Object

_GIVEN = "params.status.sidecar"
_FABRIC = "params.metadata.namespace + '.' + params.metadata.name"


def build(name: str, api_version: str, image: str, pull_policy: str = "IfNotPresent") -> Object:
    """The policy. It acts where bindings of fabrics say, on pods that are made, once."""
    return {
        "apiVersion": api_version,
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "meterfabric"}},
        "spec": {
            "paramKind": {"apiVersion": f"{GROUP}/v1alpha1", "kind": "MeteringFabric"},
            # A pod without a sidecar is seen and told; a pod that can't be made stops somebody's service.
            "failurePolicy": "Ignore",
            "reinvocationPolicy": "Never",
            "matchConstraints": {"resourceRules": [RULE]},
            "matchConditions": MATCHED,
            "mutations": [
                {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}
                for expression in _mutations(steps(_values(image, pull_policy)))
            ],
        },
    }


def _values(image: str, pull_policy: str) -> Values:
    live = Cel(f"{written('meterfabric.')} + {_FABRIC}")
    given = Cel(
        f"{_GIVEN}.environment.map(e, {written({'name': Cel('e.name'), 'value': Cel('e.value')})})"
        f" + {written([Cel(written(each)) for each in fixed_environment()])}"
    )
    disk = Cel(f"{_GIVEN}.ephemeralStorage")
    size = Cel(f"{_GIVEN}.claim.size")
    of_class = Cel(f"{_GIVEN}.claim.storageClassName")
    spool = Cel(
        f"!has({_GIVEN}.claim) ? {written(spool_on_node(disk))}"
        f" : !has({_GIVEN}.claim.storageClassName) ? {written(spool_on_claim(size, None))}"
        f" : {written(spool_on_claim(size, of_class))}"
    )
    return Values(
        fabric=Cel(_FABRIC),
        image=image,
        pull_policy=pull_policy,
        environment=given,
        cpu=Cel(f"{_GIVEN}.cpu"),
        memory=Cel(f"{_GIVEN}.memory"),
        ephemeral_storage=disk,
        spool=spool,
        live=live,
        grace=Cel(f"{_GIVEN}.gracePeriodSeconds"),
    )


def _mutations(wanted: list[Step]) -> tuple[str, str]:
    """Two expressions: what goes into lists, and the rest. Each is checked against a limit of its own."""
    into_lists: list[str] = []
    made: set[str] = set()
    rest: list[str] = []
    for step in wanted:
        match step:
            case First(field, value) | Last(field, value):
                if field not in made:
                    made.add(field)
                    into_lists.append(_if_absent("spec", field, "[]"))
                place = "0" if isinstance(step, First) else "-"
                into_lists.append(_add(pointer("spec", field, place), written(value)))
            case Raised(field, default, value):
                raised = f"(object.spec.?{field}.orValue({default}) + {written(value)})"
                rest.append(_add(pointer("spec", field), raised))
            case Marked(annotation, value):
                rest += _annotations(made)
                rest.append(_add(pointer("metadata", "annotations", annotation), written(value)))
            case Listed(annotation, value):
                rest += _annotations(made)
                held = f"object.metadata.?annotations[?{written(annotation)}]"
                longer = f"({held}.hasValue() ? {held}.value() + ',' : '') + {written(value)}"
                rest.append(_add(pointer("metadata", "annotations", annotation), longer))
    return _served(into_lists), _served(rest)


def _served(patches: list[str]) -> str:
    """The patches; none where the fabric was never reconciled, or isn't the one that the pod's namespace joined.

    A binding of the chart's, where namespaces are listed, gives every fabric of a namespace as the parameter.
    """
    parts: list[str] = []
    for conditional, group in groupby(patches, lambda patch: patch.startswith("(")):
        found = list(group)
        parts += found if conditional else [f"[{', '.join(found)}]"]
    listed = " + ".join(parts)
    joined = f"namespaceObject.metadata.?labels[?{written(FABRIC)}].orValue('')"
    own = "namespaceObject.metadata.name == params.metadata.namespace"
    return f"!has(params.status) || !has({_GIVEN}) || {joined} != {_FABRIC} || {own} ? [] : {listed}"


def _add(path: str, value: str) -> str:
    return f"JSONPatch{{op: 'add', path: {written(path)}, value: {value}}}"


def _if_absent(where: str, field: str, empty: str) -> str:
    return f"(has(object.{where}.{field}) ? [] : [{_add(pointer(where, field), empty)}])"


def _annotations(made: set[str]) -> list[str]:
    """Makes the map of annotations where there is none; once."""
    if "annotations" in made:
        return []
    made.add("annotations")
    return [_if_absent("metadata", "annotations", "{}")]
