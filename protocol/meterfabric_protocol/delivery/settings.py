"""What each of the three machines is told once: whom it works for, and its bounds."""

from __future__ import annotations

from dataclasses import dataclass, field

from meterfabric_protocol.limits import Limits


@dataclass(frozen=True)
class ProducerSettings:
    """Bounds of delivery, bytes and seconds."""

    fabric: str
    name: str
    """What relays are ranked by: the active log's origin, or any name of the pod."""
    secret: bytes = b""
    """Random bytes, at most 32, drawn when the process starts: epochs that no relay can foresee."""
    receipt_timeout: float = 2.0
    """Without an answer for this long, another relay is tried; doubled at each failure in a row."""
    backoff_max: float = 30.0
    retry: float = 1.0
    """Before a spool that could not read is asked again."""
    window: int = 8 << 20
    """In flight, a log and sink."""
    cache: int = 8 << 20
    """Batches at hand, a log."""
    fetch: int = 4 << 20
    """Asked of the spool at once."""
    burst: int = 32
    """Batches sent a log before others have their turn."""
    sessions: int = 2
    """Relays connected: one in use, the others warm."""
    stopping: float = 10.0
    """A relay that says it stops is left alone for this long, if there are others."""
    idle: float = 2.0
    """Credit unused for this long is given back."""
    ask_interval: float = 30.0
    """A relay that seems not to reach a sink is asked for its sinks this often."""
    head_interval: float = 10.0
    probe_interval: float = 60.0
    """A sink that has everything is asked where it is this often: it may have been restored from a backup."""
    retain: float = 0.0
    """Payloads are kept this long after every sink has them."""
    linger: float = 3_600.0
    """A closed log is remembered this long after every sink has all of it."""


@dataclass(frozen=True)
class RelaySettings:
    """Bounds of a relay, bytes and seconds."""

    name: str
    memory: int = 24 << 20
    """Bytes of records held or promised, all sinks together."""
    sinks: int = 4
    """Sinks the memory is divided among; more are refused."""
    chunk: int = 1 << 20
    """Bytes granted at once."""
    max_message: int = 9 << 20
    """Bytes of the largest message taken."""
    sessions: int = 10_000
    heads: int = 64
    """Heads waiting for one sink, a session; more replace nothing and are dropped (they are repeated)."""
    idle_grant: float = 15.0
    """Seconds credit may lie unused before its session ends: a frozen producer must not hold the memory of others."""
    quantum: int = 65_536


@dataclass(frozen=True)
class SinkSettings:
    """Who this sink is: the fabric's name and its own, and the limits it holds batches to."""

    fabric: str
    name: str
    limits: Limits = field(default_factory=Limits)
