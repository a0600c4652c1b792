"""The two kinds a person writes: MeteringFabric and MeteringSink, `meterfabric.io/v1alpha1`.

What a person typed wrong is told by field, limit and value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from meterfabric_protocol.errors import ProtocolError
from meterfabric_protocol.fabric_spec import FabricSpec, Name, SinkSpec
from meterfabric_protocol.notation import NEVER, amount, seconds, thousandths

API_VERSION: Final = "meterfabric.io/v1alpha1"


class FabricError(ProtocolError):
    """An object that can't be used: `where` names it, `field` is the path in it, `problem` what to change."""

    def __init__(self, where: str, field: str, problem: str) -> None:
        super().__init__(": ".join(part for part in (where, field, problem) if part))
        self.where = where
        self.field = field
        self.problem = problem


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """What of metadata is used."""

    name: Name
    namespace: Name = "default"


class MeteringFabric(msgspec.Struct, frozen=True, kw_only=True):
    """One fabric and everything run for it."""

    metadata: Metadata
    spec: FabricSpec = FabricSpec()

    @property
    def id(self) -> str:
        """The fabric's name in origins and SPIFFE IDs."""
        return f"{self.metadata.namespace}.{self.metadata.name}"


class MeteringSink(msgspec.Struct, frozen=True, kw_only=True):
    """One destination of a fabric's records."""

    metadata: Metadata
    spec: SinkSpec


_KINDS: Final[dict[str, type[MeteringFabric] | type[MeteringSink]]] = {
    "MeteringFabric": MeteringFabric,
    "MeteringSink": MeteringSink,
}


def read(document: Mapping[str, Any]) -> MeteringFabric | MeteringSink:
    """One object, checked.

    Raises:
        FabricError: naming the object, the field, and what is wrong with it.
    """
    kind, version = document.get("kind"), document.get("apiVersion")
    metadata = document.get("metadata")
    name = metadata.get("name", "") if isinstance(metadata, Mapping) else ""
    where = f"{kind or 'object'} {name}".strip()
    if version != API_VERSION:
        raise FabricError(where, "apiVersion", f"is {version!r}, {API_VERSION} is what this release reads")
    if kind not in _KINDS:
        raise FabricError(where, "kind", f"is {kind!r}, one of {', '.join(_KINDS)} is right")
    try:
        made = msgspec.convert({k: v for k, v in document.items() if k in ("metadata", "spec")}, _KINDS[str(kind)])
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$.")
        raise FabricError(where, path.rstrip("`"), what + _value(document, path.rstrip("`"))) from None
    if isinstance(made, MeteringSink):
        _check_sink(where, made.spec)
    else:
        _check_fabric(where, made.spec)
    return made


def _value(document: object, path: str) -> str:
    """What stands at a path, for the person who wrote it; nothing where that is no short word, or perhaps a secret."""
    for step in path.split("."):
        if not isinstance(document, Mapping) or step == "url":
            return ""
        document = document.get(step)
    return f", is {document!r}" if isinstance(document, str | int | float) and len(str(document)) <= 64 else ""


def _check_sink(where: str, spec: SinkSpec) -> None:
    chosen = [name for name in ("file", "sqlite", "postgres") if getattr(spec.destination, name) is not None]
    if len(chosen) != 1:
        raise FabricError(where, "spec.destination", f"exactly one of file, sqlite, postgres, not {len(chosen)}")
    if chosen[0] != "postgres" and spec.workers != 1:
        raise FabricError(where, "spec.workers", f"is {spec.workers}, a {chosen[0]} destination takes one worker")
    postgres = spec.destination.postgres
    if postgres is not None and (postgres.url is None) == (postgres.secret_ref is None):
        raise FabricError(where, "spec.destination.postgres", "exactly one of url and secretRef")
    if not spec.required and spec.when_full == "Refuse":
        raise FabricError(where, "spec.whenFull", "an optional sink only expires: leave it out, or set required: true")


def _check_fabric(where: str, spec: FabricSpec) -> None:
    expiry = spec.delivery.expiry
    if expiry != NEVER and seconds(expiry) < 60:
        raise FabricError(where, "spec.delivery.expiry", f"is {expiry}, at least 60s or {NEVER}")
    batch, quota = amount(spec.sidecar.batch.max_bytes), amount(spec.sidecar.spool.quota)
    if not 4_096 <= batch <= 8 << 20:
        raise FabricError(where, "spec.sidecar.batch.maxBytes", f"is {spec.sidecar.batch.max_bytes}, 4Ki to 8Mi")
    if quota < 16 * batch:
        raise FabricError(
            where, "spec.sidecar.spool.quota", f"is {spec.sidecar.spool.quota}, at least 16 batches of {batch} bytes"
        )
    if amount(spec.relay.memory) < 8 << 20:
        raise FabricError(where, "spec.relay.memory", f"is {spec.relay.memory}, at least 8Mi")
    if (scaling := spec.relay.autoscaling) is not None:
        if scaling.min_replicas > scaling.max_replicas:
            problem = f"is {scaling.min_replicas}, at most maxReplicas, {scaling.max_replicas}"
            raise FabricError(where, "spec.relay.autoscaling.minReplicas", problem)
        if thousandths(scaling.tolerance) >= 1_000:
            raise FabricError(where, "spec.relay.autoscaling.tolerance", f"is {scaling.tolerance}, less than 1")
    if not 1_024 <= amount(spec.limits.record_bytes) <= 4 << 20:
        raise FabricError(where, "spec.limits.recordBytes", f"is {spec.limits.record_bytes}, 1Ki to 4Mi")
    if not 600 <= seconds(spec.identity.certificate_lifetime) <= 30 * 86_400:
        lifetime = spec.identity.certificate_lifetime
        raise FabricError(where, "spec.identity.certificateLifetime", f"is {lifetime}, 10m to 720h")
