"""The two kinds a person writes: MeteringFabric and MeteringSink, `meterfabric.io/v1alpha1`.

These types are the one source of truth for their fields, defaults and limits; what a person typed wrong is told by
field, limit and value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from meterfabric_protocol.errors import ProtocolError

API_VERSION: Final = "meterfabric.io/v1alpha1"
NEVER: Final = "Never"

Name = Annotated[str, Meta(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
Duration = Annotated[str, Meta(pattern=r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$")]
"""Go's notation: 168h, 1h30m, 250ms."""
Expiry = Annotated[str, Meta(pattern=r"^(Never|([0-9]+(\.[0-9]+)?(ms|s|m|h))+)$")]
"""A duration, or Never."""
Quantity = Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)?(k|M|G|T|Ki|Mi|Gi|Ti)?$")]
"""Kubernetes' notation of bytes: 1Gi, 500M, 4096."""

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SCALES: Final = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}


class FabricError(ProtocolError):
    """An object that can't be used: `where` names it, `field` is the path in it, `problem` what to change."""

    def __init__(self, where: str, field: str, problem: str) -> None:
        super().__init__(": ".join(part for part in (where, field, problem) if part))
        self.where = where
        self.field = field
        self.problem = problem


def seconds(text: str) -> float:
    """Seconds of a duration such as ``1h30m``."""
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9.]+)(ms|s|m|h)", text))


def amount(text: str) -> int:
    """Bytes of a quantity such as ``1Gi``."""
    found = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", text)
    if found is None:
        raise ValueError(f"not a quantity: {text!r}")
    return int(float(found[1]) * _SCALES[found[2]])


class _Spec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    pass


class Delivery(_Spec, frozen=True, kw_only=True):
    """How long records wait, and how long an answer may take."""

    expiry: Expiry = "168h"
    receipt_timeout: Duration = "2s"
    drain: Duration = "30s"


class Relay(_Spec, frozen=True, kw_only=True):
    """The relays: how many, and the bounds of each."""

    replicas: Annotated[int, Meta(ge=1, le=100)] = 2
    memory: Quantity = "24Mi"
    max_connections: Annotated[int, Meta(ge=1, le=18_000)] = 10_000


class Spool(_Spec, frozen=True, kw_only=True):
    """The sidecar's durable store."""

    quota: Quantity = "1Gi"
    retain: Duration = "0s"
    dedup_window: Duration = "10m"
    dedup_records: Annotated[int, Meta(ge=1_000, le=10_000_000)] = 250_000


class BatchBounds(_Spec, frozen=True, kw_only=True):
    """When a batch closes: whichever comes first."""

    max_records: Annotated[int, Meta(ge=1, le=65_536)] = 4_096
    max_bytes: Quantity = "1Mi"
    max_delay: Duration = "2ms"


class Sidecar(_Spec, frozen=True, kw_only=True):
    """What runs beside a metering container."""

    spool: Spool = Spool()
    batch: BatchBounds = BatchBounds()
    compression: Literal["none", "zstd"] = "zstd"


class IdentitySpec(_Spec, frozen=True, kw_only=True):
    """Producers' certificates."""

    certificate_lifetime: Duration = "72h"


class FabricLimits(_Spec, frozen=True, kw_only=True):
    """What all ends of the fabric hold records to."""

    record_bytes: Quantity = "256Ki"


class FabricSpec(_Spec, frozen=True, kw_only=True):
    """spec of a MeteringFabric."""

    trust_domain: Annotated[str, Meta(max_length=255, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")] = (
        "meterfabric.local"
    )
    delivery: Delivery = Delivery()
    relay: Relay = Relay()
    sidecar: Sidecar = Sidecar()
    identity: IdentitySpec = IdentitySpec()
    limits: FabricLimits = FabricLimits()


class FileDestination(_Spec, frozen=True, kw_only=True):
    """NDJSON segments with an index."""


class SqliteDestination(_Spec, frozen=True, kw_only=True):
    """One SQLite database."""


class PostgresDestination(_Spec, frozen=True, kw_only=True):
    """PostgreSQL, schema `meterfabric`."""

    url: Annotated[str, Meta(pattern=r"^postgres(ql)?://")]


class DestinationSpec(_Spec, frozen=True, kw_only=True):
    """Where records go: exactly one."""

    file: FileDestination | None = None
    sqlite: SqliteDestination | None = None
    postgres: PostgresDestination | None = None


class SinkSpec(_Spec, frozen=True, kw_only=True):
    """spec of a MeteringSink."""

    fabric: Name
    destination: DestinationSpec
    required: bool = True
    when_full: Literal["Refuse", "ExpireOldest"] = "Refuse"
    workers: Annotated[int, Meta(ge=1, le=100)] = 1


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
        raise FabricError(where, path.rstrip("`"), what) from None
    if isinstance(made, MeteringSink):
        _check_sink(where, made.spec)
    else:
        _check_fabric(where, made.spec)
    return made


def _check_sink(where: str, spec: SinkSpec) -> None:
    chosen = [name for name in ("file", "sqlite", "postgres") if getattr(spec.destination, name) is not None]
    if len(chosen) != 1:
        raise FabricError(where, "spec.destination", f"exactly one of file, sqlite, postgres, not {len(chosen)}")
    if chosen[0] != "postgres" and spec.workers != 1:
        raise FabricError(where, "spec.workers", f"is {spec.workers}, a {chosen[0]} destination takes one worker")
    if not spec.required and spec.when_full == "Refuse":
        return
    if not spec.required:
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
    if not 1_024 <= amount(spec.limits.record_bytes) <= 4 << 20:
        raise FabricError(where, "spec.limits.recordBytes", f"is {spec.limits.record_bytes}, 1Ki to 4Mi")
