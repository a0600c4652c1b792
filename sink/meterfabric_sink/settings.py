"""The sink worker's settings, filled once at start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Bytes and seconds; paths are files."""

    fabric: str
    name: str
    """The sink's name in the fabric; all its workers share it."""
    worker: str
    """This worker's own name."""
    trust: Path
    """Trust bundle, PEM."""
    key: Path
    """The sink's Ed25519 signing key, PEM (PKCS #8)."""
    chain: Path
    """The sink's certificate chain, PEM, leaf first."""
    relays: str
    """Which relays there are: a file, read again when it changes, or dns://HOST:PORT (`discovery`)."""
    relay_key: str
    """The relays' public CURVE key, Z85."""
    url: str
    """Destination: file:DIR, sqlite:PATH or postgresql://…"""
    window: int = 16 << 20
    """Bytes a relay may have unanswered here."""
    group_bytes: int = 8 << 20
    """Bytes committed at once at most."""
    group_batches: int = 128
    """Batches committed at once at most: none of them is answered before all are judged, and whoever waits for longer
    than its patience sends everything once more."""
    max_message: int = 9 << 20
    record_bytes: int = 262_144
    """Longest record; all ends of a fabric share it."""
    http_host: str = "127.0.0.1"
    http_port: int = 0
    drain: float = 20.0
    ready_file: Path | None = None
    log_level: str = "info"
