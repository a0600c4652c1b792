"""What admission changes in a pod, step by step: said once, for the policy in CEL and for the webhook as RFC 6902.

A value is what JSON holds, or an expression that yields it; whoever writes the steps down knows which.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from meterfabric_operator import names
from meterfabric_operator.admission.cel import written
from meterfabric_operator.admission.sidecar import Values, container, volumes
from meterfabric_operator.objects import GROUP, Object

_ISTIO = "traffic.sidecar.istio.io"


@dataclass(frozen=True)
class First:
    """`value` comes before all others of a list of the spec, which is made where there is none."""

    field: str
    value: Any


@dataclass(frozen=True)
class Last:
    """`value` comes after all others of such a list."""

    field: str
    value: Any


@dataclass(frozen=True)
class Raised:
    """A number of the spec, `default` where there is none, grows by `value`."""

    field: str
    default: int
    value: Any


@dataclass(frozen=True)
class Marked:
    """An annotation becomes `value`."""

    annotation: str
    value: Any


@dataclass(frozen=True)
class Listed:
    """`value` is added, after a comma, to what an annotation lists already."""

    annotation: str
    value: str


Step = First | Last | Raised | Marked | Listed

MATCHED: list[Object] = [
    {"name": "its-own-network", "expression": "!object.spec.?hostNetwork.orValue(false)"},
    {
        "name": "not-yet",
        "expression": f"!object.spec.?initContainers.orValue([]).exists(each, each.name == {written(names.SIDECAR)})",
    },
]
"""Conditions, in CEL, of a pod that is changed at all: policies and webhooks have the same field for them."""

RULE: Object = {
    "apiGroups": [""],
    "apiVersions": ["v1"],
    "operations": ["CREATE"],
    "resources": ["pods"],
    "scope": "Namespaced",
}
"""What is looked at, as policies and webhooks both say it."""


def steps(values: Values) -> list[Step]:
    """First among the init containers, so that every other container can send; then what it needs; then the time to
    drain, a mark that says whose sidecar it is, and what Istio must leave alone."""
    return [
        First("initContainers", container(values)),
        *(Last("volumes", each) for each in volumes(values)),
        Raised("terminationGracePeriodSeconds", 30, values.grace),
        Marked(f"{GROUP}/injected", values.fabric),
        Listed(f"{_ISTIO}/excludeOutboundPorts", str(names.RELAY_PORT)),
        Listed(f"{_ISTIO}/excludeInboundPorts", str(names.SIDECAR_PAGES)),
    ]


def pointer(*tokens: str) -> str:
    """A JSON Pointer (RFC 6901 section 3)."""
    return "".join("/" + token.replace("~", "~0").replace("/", "~1") for token in tokens)
