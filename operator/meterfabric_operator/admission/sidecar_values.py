"""What a fabric's pods get by admission: `status.sidecar`, the fabric's wishes in the sidecar's own words."""

from __future__ import annotations

from meterfabric_operator import names
from meterfabric_operator.children import namespace_config, relay_service
from meterfabric_operator.environment import variables
from meterfabric_operator.objects import Object
from meterfabric_operator.wanted import FabricFacts
from meterfabric_protocol import fabric_sidecar
from meterfabric_protocol.notation import amount, seconds

_BESIDE_QUOTA = 64 << 20
"""Bytes of disk that the sidecar may use beside its spool: what it logs."""
_STOPPING = 15
"""Seconds that a sidecar takes to stop besides draining."""


def build(facts: FabricFacts) -> Object:
    """Everything that the admission policy puts into a pod and that isn't the same for all fabrics."""
    spec = facts.fabric.spec
    spool = spec.sidecar.spool
    drain = seconds(spec.delivery.drain)
    settings = {
        "fabric": facts.id,
        "trust_domain": spec.trust_domain,
        "relays": relay_service.url(facts),
        "relay_key": facts.relay_public,
        "trust_given": facts.trust,
        "sinks_given": namespace_config.sinks(facts),
        **fabric_sidecar.settings(spec),
        "pages_port": names.SIDECAR_PAGES,
    }
    disk = amount(spool.quota) + _BESIDE_QUOTA
    made: Object = {
        "environment": variables("SIDECAR", settings),
        "cpu": spec.sidecar.resources.cpu,
        "memory": spec.sidecar.resources.memory,
        "ephemeralStorage": str(disk if spool.claim is None else _BESIDE_QUOTA),
        "gracePeriodSeconds": int(drain) + _STOPPING,
    }
    if spool.claim is not None:
        made["claim"] = {"size": str(disk)}
        if spool.claim.storage_class_name is not None:
            made["claim"]["storageClassName"] = spool.claim.storage_class_name
    return made
