"""What a sink worker's probes say."""

from __future__ import annotations

from meterfabric_sink.links import Links
from meterfabric_sink.worker import Worker


class Health:
    """Ready means: what relays bring is committed."""

    def __init__(self, worker: Worker, links: Links) -> None:
        self._worker = worker
        self._links = links
        self.opening: str | None = "it is being opened"
        """Why the destination isn't open yet, None once it is."""

    def unhealthy(self) -> list[str]:
        """A new start mends nothing that is looked at here."""
        return []

    def unready(self) -> list[str]:
        """Why nothing, or not everything, is committed."""
        if self.opening is not None:
            return [f"destination: {self.opening}"]
        reasons = [f"destination: {self._worker.down}"] if self._worker.down else []
        reasons += self._worker.refusals.reasons()
        if not any(link.welcomed for link in self._links.links.values()):
            reasons.append("no relay")
        return reasons
