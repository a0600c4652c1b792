"""A producer's view of one relay: the session's nonce, the sinks it reaches, and the credit it gave."""

from __future__ import annotations

from dataclasses import dataclass, field

from meterfabric_protocol.message import Wish


@dataclass
class Credit:
    """Bytes since HELLO, cumulative: granted by the relay, used by us, wished for last."""

    granted: int = 0
    used: int = 0
    wish: Wish = field(default_factory=lambda: Wish(0, 0))
    wished_at: float = 0.0
    used_at: float = 0.0

    @property
    def left(self) -> int:
        """Bytes that may be sent now."""
        return self.granted - self.used


@dataclass
class Link:
    """One relay. It is `up` once it welcomed our HELLO."""

    relay: str
    nonce: bytes = b""
    up: bool = False
    draining: bool = False
    max_message: int = 0
    keys: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    """Public keys of the sinks that have a worker there, by sink, each proved by a chain."""
    credit: dict[str, Credit] = field(default_factory=dict)
    asked_at: float = 0.0
    """When the relay was last asked for its sinks."""

    def reset(self, nonce: bytes = b"") -> None:
        """A new session begins, or none stands."""
        self.nonce, self.up, self.draining = nonce, False, False
        self.keys, self.credit = {}, {}

    def for_sink(self, sink: str) -> Credit:
        """The credit for a sink."""
        return self.credit.setdefault(sink, Credit())

    def reaches(self, sink: str) -> bool:
        """Whether batches for the sink may be given to this relay."""
        return self.up and not self.draining and bool(self.keys.get(sink))
