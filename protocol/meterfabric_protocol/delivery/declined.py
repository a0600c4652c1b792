"""Why a sink does not do as a message asks."""

from __future__ import annotations

from meterfabric_protocol.delivery.answer import Kind
from meterfabric_protocol.delivery.stored import Equivocation


class Declined(Exception):
    """The answer is another than the one asked for. What it says goes into an `answer.Answer`; ``evidence`` is kept."""

    def __init__(
        self,
        kind: Kind,
        reason: str = "",
        detail: str = "",
        about: int = 0,
        evidence: Equivocation | None = None,
    ) -> None:
        super().__init__(f"{kind} {reason}: {detail}")
        self.kind: Kind = kind
        self.reason = reason
        self.detail = detail[:1000]
        self.about = about
        self.evidence = evidence


class Wait(Exception):
    """Nothing is decided before a position is freshly read: the log's own, or that of ``missing``."""

    def __init__(self, missing: str | None = None) -> None:
        super().__init__(missing)
        self.missing = missing
