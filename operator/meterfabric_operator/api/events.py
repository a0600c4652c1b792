"""Events that a person sees with `kubectl describe`: told once when something changes, never in a loop."""

from __future__ import annotations

import logging
import secrets
from datetime import UTC, datetime
from typing import Literal

from meterfabric_operator.api.cluster import Cluster
from meterfabric_operator.api.lease import UNREACHABLE
from meterfabric_operator.objects import MANAGER, Object, to_micro_time

log = logging.getLogger(__name__)


class Events:
    """Tells events; one that can't be told is only logged."""

    def __init__(self, cluster: Cluster, identity: str) -> None:
        self._cluster = cluster
        self._identity = identity

    async def tell(self, about: Object, kind: Literal["Normal", "Warning"], reason: str, note: str) -> None:
        """``about``: the object; ``reason``: one word; ``note``: a sentence."""
        metadata = about["metadata"]
        now = to_micro_time(datetime.now(UTC))
        body = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {
                "name": f"{metadata['name'][:200]}.{secrets.token_hex(8)}",
                "namespace": metadata.get("namespace") or "default",
            },
            "regarding": {
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "name": metadata["name"],
                "namespace": metadata.get("namespace"),
                "uid": metadata["uid"],
            },
            "type": kind,
            "reason": reason[:128],
            "action": "Reconcile",
            "note": note[:1000],
            "eventTime": now,
            "reportingController": f"meterfabric.io/{MANAGER}",
            "reportingInstance": self._identity[:128],
        }
        try:
            await self._cluster.create(body)
        except UNREACHABLE as error:
            log.info("an event can't be told", extra={"reason": reason, "note": note, "error": str(error)})
