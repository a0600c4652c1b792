"""The MutatingAdmissionPolicy that puts sidecars into pods: inside of the API server, with no process of ours.

Its parameter is the MeteringFabric of the binding, of which it reads `status.sidecar` and nothing else. The image is
the release's, written into the policy: who may write fabrics can't choose what runs in others' namespaces.
"""

from __future__ import annotations

from meterfabric_operator import names
from meterfabric_operator.admission.cel import Cel, written
from meterfabric_operator.admission.sidecar import (
    Values,
    container,
    fixed_environment,
    spool_on_claim,
    spool_on_node,
    volumes,
)
from meterfabric_operator.objects import FABRIC, GROUP, Object

_GIVEN = "params.status.sidecar"
_FABRIC = "params.metadata.namespace + '.' + params.metadata.name"
_ISTIO = "traffic.sidecar.istio.io"


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
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE"],
                        "resources": ["pods"],
                        "scope": "Namespaced",
                    }
                ]
            },
            "matchConditions": [
                {"name": "its-own-network", "expression": "!object.spec.?hostNetwork.orValue(false)"},
                {
                    "name": "not-yet",
                    "expression": "!object.spec.?initContainers.orValue([])"
                    f".exists(each, each.name == {written(names.SIDECAR)})",
                },
            ],
            "mutations": [
                {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}
                for expression in (_containers(image, pull_policy), _rest())
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
        image=image,
        pull_policy=pull_policy,
        environment=given,
        cpu=Cel(f"{_GIVEN}.cpu"),
        memory=Cel(f"{_GIVEN}.memory"),
        ephemeral_storage=disk,
        spool=spool,
        live=live,
    )


def _containers(image: str, pull_policy: str) -> str:
    """First among the init containers, so that every other container can send."""
    values = _values(image, pull_policy)
    return _served(
        _add_if_absent("spec", "initContainers", "[]"),
        [_add("/spec/initContainers/0", Cel(written(container(values))))],
        _add_if_absent("spec", "volumes", "[]"),
        [_add("/spec/volumes/-", Cel(written(each))) for each in volumes(values)],
    )


def _rest() -> str:
    """The time to drain, what Istio must leave alone, and a mark that says whose sidecar it is."""
    grace = f"object.spec.?terminationGracePeriodSeconds.orValue(30) + {_GIVEN}.gracePeriodSeconds"
    owner = Cel(_FABRIC)
    return _served(
        [_add("/spec/terminationGracePeriodSeconds", Cel(f"({grace})"))],
        _add_if_absent("metadata", "annotations", "{}"),
        [
            _add(f"/metadata/annotations/{_escaped(f'{GROUP}/injected')}", owner),
            _add_port("excludeOutboundPorts", names.RELAY_PORT),
            _add_port("excludeInboundPorts", names.SIDECAR_PAGES),
        ],
    )


def _served(*parts: list[str]) -> str:
    """The patches; none where the fabric was never reconciled, or isn't the one that the pod's namespace joined.

    A binding of the chart's, where namespaces are listed, gives every fabric of a namespace as the parameter.
    """
    listed = " + ".join(part[0] if part[0].startswith("(") else f"[{', '.join(part)}]" for part in parts)
    joined = f"namespaceObject.metadata.?labels[?{written(FABRIC)}].orValue('')"
    own = "namespaceObject.metadata.name == params.metadata.namespace"
    return f"!has(params.status) || !has({_GIVEN}) || {joined} != {_FABRIC} || {own} ? [] : {listed}"


def _add(path: str, value: Cel) -> str:
    return f"JSONPatch{{op: 'add', path: {written(path)}, value: {value.text}}}"


def _add_if_absent(where: str, field: str, empty: str) -> list[str]:
    return [f"(has(object.{where}.{field}) ? [] : [{_add(f'/{where}/{field}', Cel(empty))}])"]


def _add_port(field: str, port: int) -> str:
    """Added to the ports that stand there already."""
    annotation = f"{_ISTIO}/{field}"
    held = f"object.metadata.?annotations[?{written(annotation)}]"
    value = Cel(f"({held}.hasValue() ? {held}.value() + ',' : '') + {written(str(port))}")
    return _add(f"/metadata/annotations/{_escaped(annotation)}", value)


def _escaped(token: str) -> str:
    """RFC 6901 section 3."""
    return token.replace("~", "~0").replace("/", "~1")
