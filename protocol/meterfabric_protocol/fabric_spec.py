"""What a person may write under `spec` of a MeteringFabric and of a MeteringSink: fields, defaults, limits.

These types are the one source of truth; the schemas in `crds/` are held against them by a test. What concerns
Kubernetes alone (resources, storage, secrets) has no effect where a fabric runs as processes of one machine.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from meterfabric_protocol.limits import DEDUP_RECORDS
from meterfabric_protocol.notation import Cores, Duration, Expiry, Quantity

Name = Annotated[str, Meta(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
SecretKey = Annotated[str, Meta(max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]


class _Spec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    pass


class Resources(_Spec, frozen=True, kw_only=True):
    """What a container gets: requests and limits are the same, so that it is never the first to be evicted."""

    cpu: Cores = "250m"
    memory: Quantity = "256Mi"


class Delivery(_Spec, frozen=True, kw_only=True):
    """How long records wait, and how long an answer may take."""

    expiry: Expiry = "168h"
    receipt_timeout: Duration = "2s"
    drain: Duration = "30s"


class ScalingPolicy(_Spec, frozen=True, kw_only=True):
    """How much may change within a period."""

    type: Literal["Pods", "Percent"]
    value: Annotated[int, Meta(ge=1, le=10_000)]
    period_seconds: Annotated[int, Meta(ge=1, le=1_800)]


Policies = Annotated[tuple[ScalingPolicy, ...], Meta(min_length=1, max_length=10)]
SelectPolicy = Literal["Max", "Min", "Disabled"]
Window = Annotated[int, Meta(ge=0, le=3_600)]


class ScaleUp(_Spec, frozen=True, kw_only=True):
    """How growth is held back; HPAScalingRules of autoscaling/v2, with its defaults."""

    stabilization_window_seconds: Window = 0
    select_policy: SelectPolicy = "Max"
    policies: Policies = (
        ScalingPolicy(type="Pods", value=4, period_seconds=15),
        ScalingPolicy(type="Percent", value=100, period_seconds=15),
    )


class ScaleDown(_Spec, frozen=True, kw_only=True):
    """How shrinking is held back, likewise."""

    stabilization_window_seconds: Window = 300
    select_policy: SelectPolicy = "Max"
    policies: Policies = (ScalingPolicy(type="Percent", value=100, period_seconds=15),)


class Behavior(_Spec, frozen=True, kw_only=True):
    """HorizontalPodAutoscalerBehavior of autoscaling/v2."""

    scale_up: ScaleUp = ScaleUp()
    scale_down: ScaleDown = ScaleDown()


class Autoscaling(_Spec, frozen=True, kw_only=True):
    """How many relays there are to be follows from how busy they are, as a HorizontalPodAutoscaler (v2) would have it.

    Its defaults, but for `min_replicas`: one relay that dies should leave one.
    """

    min_replicas: Annotated[int, Meta(ge=1, le=100)] = 2
    max_replicas: Annotated[int, Meta(ge=1, le=100)]
    target_utilization: Annotated[int, Meta(ge=1, le=100)] = 80
    tolerance: Cores = "0.1"
    behavior: Behavior = Behavior()


class Relay(_Spec, frozen=True, kw_only=True):
    """The relays: how many, and the bounds of each.

    `replicas` has no default: where it is left out, what stands is not to change (`count` where nothing stands).
    """

    replicas: Annotated[int, Meta(ge=1, le=100)] | None = None
    autoscaling: Autoscaling | None = None
    memory: Quantity = "24Mi"
    max_connections: Annotated[int, Meta(ge=1, le=18_000)] = 10_000
    resources: Resources = Resources()

    @property
    def count(self) -> int:
        """How many; 2 where nothing says, so that one that dies leaves one."""
        return 2 if self.replicas is None else self.replicas


class SpoolClaim(_Spec, frozen=True, kw_only=True):
    """A volume made with each metering pod and removed with it (a generic ephemeral volume)."""

    storage_class_name: Annotated[str, Meta(min_length=1, max_length=253)] | None = None


class Spool(_Spec, frozen=True, kw_only=True):
    """The sidecar's durable store."""

    quota: Quantity = "1Gi"
    retain: Duration = "0s"
    dedup_window: Duration = "10m"
    dedup_records: Annotated[int, Meta(ge=1_000, le=10_000_000)] = DEDUP_RECORDS
    claim: SpoolClaim | None = None


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
    resources: Resources = Resources(cpu="100m", memory="192Mi")


class IdentitySpec(_Spec, frozen=True, kw_only=True):
    """Producers' certificates, and what becomes of the authority that signs them."""

    certificate_lifetime: Duration = "72h"
    on_delete: Literal["Keep", "Delete"] = "Keep"


class InjectionSpec(_Spec, frozen=True, kw_only=True):
    """What becomes of pods that ask for a sidecar and were made without one."""

    replace: Literal["Never", "Evict"] = "Never"
    evictions_per_minute: Annotated[int, Meta(ge=1, le=600)] = 6


class FabricLimits(_Spec, frozen=True, kw_only=True):
    """What all ends of the fabric hold records to."""

    record_bytes: Quantity = "256Ki"


class FabricSpec(_Spec, frozen=True, kw_only=True):
    """spec of a MeteringFabric."""

    trust_domain: Annotated[str, Meta(max_length=255, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")] = (
        "meterfabric.local"
    )
    reconcile: Literal["Active", "Paused"] = "Active"
    delivery: Delivery = Delivery()
    relay: Relay = Relay()
    sidecar: Sidecar = Sidecar()
    identity: IdentitySpec = IdentitySpec()
    injection: InjectionSpec = InjectionSpec()
    limits: FabricLimits = FabricLimits()


class Storage(_Spec, frozen=True, kw_only=True):
    """The volume of a destination that is files; it outlives the sink."""

    size: Quantity = "10Gi"
    storage_class_name: Annotated[str, Meta(min_length=1, max_length=253)] | None = None


class FileDestination(_Spec, frozen=True, kw_only=True):
    """NDJSON segments with an index."""

    storage: Storage = Storage()


class SqliteDestination(_Spec, frozen=True, kw_only=True):
    """One SQLite database."""

    storage: Storage = Storage()


class SecretRef(_Spec, frozen=True, kw_only=True):
    """A value in a Secret of the sink's own namespace."""

    name: Annotated[str, Meta(max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
    key: SecretKey = "url"


class PostgresDestination(_Spec, frozen=True, kw_only=True):
    """PostgreSQL, schema `meterfabric`: its URL as it is, or in a Secret."""

    url: Annotated[str, Meta(max_length=2048, pattern=r"^postgres(ql)?://")] | None = None
    secret_ref: SecretRef | None = None


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
    when_full: Literal["Refuse", "ExpireOldest"] | None = None
    workers: Annotated[int, Meta(ge=1, le=100)] = 1
    resources: Resources = Resources()

    @property
    def refuses(self) -> bool:
        """Whether records are refused while a spool is full of what this sink lacks; else its oldest expire."""
        return self.required and self.when_full != "ExpireOldest"
