"""The sidecar's settings, filled once at start."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from meterfabric_protocol.limits import DEDUP_RECORDS


@dataclass(frozen=True)
class SpoolPart:
    """The durable store; bytes and seconds."""

    quota: int = 1 << 30
    retain: float = 0.0
    """Records are kept this long after every sink has them."""
    dedup_seconds: float = 600.0
    dedup_records: int = DEDUP_RECORDS


@dataclass(frozen=True)
class BatchPart:
    """When a batch closes; bytes of payload and seconds."""

    max_records: int = 4_096
    max_bytes: int = 1 << 20
    max_delay: float = 0.002
    """Longest wait for company when the disk is free and several senders are about."""


@dataclass(frozen=True)
class KubernetesPart:
    """Where the API server is, and the folder with this pod's `token` and the server's `ca.crt`."""

    host: str
    folder: Path
    port: int = 443


@dataclass(frozen=True)
class Settings:
    """Bytes and seconds; paths are files or folders."""

    fabric: str
    trust_domain: str
    namespace: str
    pod: str
    pod_uid: str
    service_account: str
    spool_dir: Path
    key_dir: Path
    """On memory-backed storage in a pod: the private key never touches a disk."""
    trust: Path
    """Trust bundle, PEM."""
    relays: str
    """Which relays there are: a file, read again when it changes, or dns://HOST:PORT (`discovery`)."""
    sinks: Path
    """List of sinks and what each is owed, JSON; read again when it changes."""
    relay_key: str
    """The relays' public CURVE key, Z85."""
    authority: Path | None = None
    """Where certificates are asked for: the folder of an authority on this machine."""
    kubernetes: KubernetesPart | None = None
    """Or the API of a cluster, which stands over `authority`."""
    trust_given: str = ""
    """The bundle that holds while `trust` isn't there."""
    sinks_given: str = ""
    """The list that holds while `sinks` isn't there."""
    http_host: str = "127.0.0.1"
    """Ingest is for the containers of the same pod only."""
    http_port: int = 8280
    zmq_port: int = 8281
    pages_host: str = ""
    """Where probes and metrics are served besides, for who isn't in the pod; empty for nowhere."""
    pages_port: int = 8290
    spool: SpoolPart = field(default_factory=SpoolPart)
    batch: BatchPart = field(default_factory=BatchPart)
    compression: Literal["none", "zstd"] = "zstd"
    receipt_timeout: float = 2.0
    record_bytes: int = 262_144
    max_message: int = 9 << 20
    drain: float = 30.0
    """Longest wait at SIGTERM for receipts of what is pending."""
    ready_file: Path | None = None
    log_level: str = "info"
