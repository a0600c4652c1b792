"""Fabrics and sinks as their types, from what an API server holds.

Its schema refused what nobody knows. What it let in and is unknown here is of a newer version: an operator goes on with
what it knows, whichever of the two was upgraded first, and says what it leaves out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, Literal

from msgspec import inspect

from meterfabric_operator.objects import Object
from meterfabric_protocol.errors import ProtocolError
from meterfabric_protocol.fabric import FabricError, Metadata, MeteringFabric, MeteringSink, read
from meterfabric_protocol.fabric_spec import DestinationSpec, FabricSpec, SinkSpec
from meterfabric_protocol.names import cosigner

_SPECS: Final[dict[str, type]] = {"MeteringFabric": FabricSpec, "MeteringSink": SinkSpec}
_OF_IDENTITY: Final = ("trustDomain", "reconcile", "identity")
"""All of a fabric's spec that its Secrets, its certificates and its end depend on."""


def read_fabric(body: Object) -> MeteringFabric:
    """The object as its type, without unknown fields. Raises FabricError, also where its names are too long for its
    logs."""
    made = read(_known(body))
    assert isinstance(made, MeteringFabric)
    try:
        cosigner(made.id, "a")
    except ProtocolError as error:
        problem = f"{made.id} names its logs and is a label, so namespace and name may have 62 characters: {error}"
        raise FabricError(f"MeteringFabric {made.id}", "metadata.name", problem) from error
    return made


def read_sink(body: Object) -> MeteringSink:
    """The same of a sink. Raises FabricError."""
    made = read(_known(body))
    assert isinstance(made, MeteringSink)
    return made


def read_identity(body: Object) -> tuple[MeteringFabric, FabricError | None]:
    """A fabric; or where its spec can't be used, why, and of the spec what keys and certificates depend on, the rest as
    by default: pods that run need these whatever is wrong elsewhere. Raises FabricError where not even that is right.
    """
    try:
        return read_fabric(body), None
    except FabricError as error:
        spec = {name: value for name, value in (body.get("spec") or {}).items() if name in _OF_IDENTITY}
        return read_fabric({**body, "spec": spec}), error


def read_policy(body: Object) -> MeteringSink:
    """A sink as sidecars and relays see it: that it is there, and whether records wait for it.

    Of a spec that can't be used (a destination that only a newer version knows) the rest is as by default: what stands
    in a list of sinks no more is gone for good, and nothing is kept for it.
    """
    try:
        return read_sink(body)
    except FabricError:
        spec = body.get("spec") or {}
        required = spec.get("required") is not False
        when_full: Literal["ExpireOldest"] | None = "ExpireOldest" if spec.get("whenFull") == "ExpireOldest" else None
        found = body["metadata"]
        return MeteringSink(
            metadata=Metadata(name=found["name"], namespace=found["namespace"]),
            spec=SinkSpec(
                fabric=spec.get("fabric", ""), destination=DestinationSpec(), required=required, when_full=when_full
            ),
        )


def unknown_fields(body: Object) -> list[str]:
    """Paths of what a newer version's schema let in, as `spec.relay.colour`; in order."""
    return list(_unknown(body.get("spec"), _shape(body["kind"]), "spec"))


def _known(body: Object) -> Object:
    return {**body, "spec": _pruned(body.get("spec") or {}, _shape(body["kind"]))}


@cache
def _shape(kind: str) -> inspect.Type:
    return inspect.type_info(_SPECS[kind])


def _fields(shape: inspect.Type) -> dict[str, inspect.Type] | None:
    """What an object of this type has, by name; None where it is no object."""
    if isinstance(shape, inspect.UnionType):
        return next((found for each in shape.types if (found := _fields(each)) is not None), None)
    return {each.encode_name: each.type for each in shape.fields} if isinstance(shape, inspect.StructType) else None


def _item(shape: inspect.Type) -> inspect.Type | None:
    return shape.item_type if isinstance(shape, inspect.VarTupleType) else None


def _pruned(value: Any, shape: inspect.Type) -> Any:
    fields, item = _fields(shape), _item(shape)
    if fields is not None and isinstance(value, Mapping):
        return {name: _pruned(each, fields[name]) for name, each in value.items() if name in fields}
    if item is not None and isinstance(value, Sequence):
        return [_pruned(each, item) for each in value]
    return value


def _unknown(value: Any, shape: inspect.Type, path: str) -> Iterator[str]:
    fields, item = _fields(shape), _item(shape)
    if fields is not None and isinstance(value, Mapping):
        for name, each in value.items():
            if name in fields:
                yield from _unknown(each, fields[name], f"{path}.{name}")
            else:
                yield f"{path}.{name}"
    elif item is not None and isinstance(value, Sequence):
        for number, each in enumerate(value):
            yield from _unknown(each, item, f"{path}[{number}]")
