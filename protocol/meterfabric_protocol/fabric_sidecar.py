"""What a fabric asks of its sidecars, in the words of the sidecar's own settings: bytes and seconds as numbers.

`meterfabric local` and the operator both start sidecars from one MeteringFabric, and add where things are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from meterfabric_protocol.fabric import MeteringSink
from meterfabric_protocol.fabric_spec import FabricSpec
from meterfabric_protocol.notation import NEVER, amount, seconds


def settings(spec: FabricSpec) -> dict[str, Any]:
    """The fields of the sidecar's settings that the fabric says."""
    spool, batch = spec.sidecar.spool, spec.sidecar.batch
    return {
        "spool": {
            "quota": amount(spool.quota),
            "retain": seconds(spool.retain),
            "dedup_seconds": seconds(spool.dedup_window),
            "dedup_records": spool.dedup_records,
        },
        "batch": {
            "max_records": batch.max_records,
            "max_bytes": amount(batch.max_bytes),
            "max_delay": seconds(batch.max_delay),
        },
        "compression": spec.sidecar.compression,
        "receipt_timeout": seconds(spec.delivery.receipt_timeout),
        "record_bytes": amount(spec.limits.record_bytes),
        "drain": seconds(spec.delivery.drain),
    }


def sink_entries(spec: FabricSpec, sinks: Iterable[MeteringSink]) -> list[dict[str, Any]]:
    """The list of sinks that a sidecar reads, with its policy for each."""
    expiry = spec.delivery.expiry
    return [
        {
            "name": sink.metadata.name,
            "required": sink.spec.required,
            "when_full": "refuse" if sink.spec.refuses else "expire-oldest",
            "expiry": None if expiry == NEVER else seconds(expiry),
        }
        for sink in sinks
    ]
