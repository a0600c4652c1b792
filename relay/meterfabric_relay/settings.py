"""The relay's settings, filled once at start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Bytes and seconds; paths are files."""

    fabric: str
    name: str
    """Unique among the fabric's relays: producers and routing rank relays by it."""
    trust: Path
    """Trust bundle, PEM."""
    curve: Path
    """CURVE secret key, Z85; all relays of a fabric share it."""
    host: str = "127.0.0.1"
    port: int = 0
    http_host: str = "127.0.0.1"
    http_port: int = 0
    memory: int = 24 << 20
    """Bytes of records held or promised, all sinks together; divided evenly among `sinks`, and never less than one
    largest message for each."""
    sinks: int = 2
    max_message: int = 9 << 20
    connections: int = 10_000
    drain: float = 20.0
    """Longest wait at SIGTERM for what is in flight."""
    ready_file: Path | None = None
    """Where to write {"port", "http_port", "pid"} once it listens."""
    log_level: str = "info"
