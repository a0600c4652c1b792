"""What relays stand on when nothing else of a fabric runs: an authority, a trust bundle, a curve key, identities.

The processes that load relays are started with this folder's path and read what they need from it.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_protocol.names import Producer, Sink, cosigner, origin
from meterfabric_runtime.authority import LocalAuthority
from meterfabric_runtime.csr import make_csr
from meterfabric_runtime.curve import CurveKeys
from meterfabric_runtime.discovery import RelayAddress
from meterfabric_runtime.ready import read_ready

FABRIC = "bench.scale"
SINK = "bench"
_DOMAIN = "bench.example"
_READY_SECONDS = 60.0


class Peer(msgspec.Struct, frozen=True):
    """Who a producer or worker is: the name in its certificate, its raw key, its chain in PEM."""

    name: str
    secret: bytes
    chain: bytes

    @property
    def key(self) -> Ed25519PrivateKey:
        """Its signing key."""
        return Ed25519PrivateKey.from_private_bytes(self.secret)


class Relay:
    """A running relay."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], port: int) -> None:
        self.name = name
        self.port = port
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self._process.kill()
        self._process.wait()


class Ground:
    """A folder with all of it. Use `ground()`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.relays_file = folder / "relays.json"
        self.curve = CurveKeys.load_or_create(folder / "curve")
        self._authority = LocalAuthority(
            folder / "authority", trust_domain=_DOMAIN, admits=lambda _: True, clock=lambda: datetime.now(UTC)
        )
        self.trust = self._authority.bundle()
        (folder / "trust.pem").write_bytes(self.trust)
        self._running: list[Relay] = []

    def producers(self, count: int) -> list[Peer]:
        """So many pods with a certificate each."""
        return [self._producer(f"pod-{number}") for number in range(count)]

    def sink(self) -> Peer:
        """The one sink."""
        key = Ed25519PrivateKey.generate()
        chain = self._authority.issue(make_csr(key, Sink(_DOMAIN, FABRIC, SINK).spiffe))
        return Peer(cosigner(FABRIC, SINK), key.private_bytes_raw(), chain)

    def write_peers(self, name: str, peers: list[Peer]) -> Path:
        """Lay identities down for a process to read."""
        path = self.folder / f"{name}.peers"
        path.write_bytes(msgspec.msgpack.encode(peers))
        return path

    def list_relays(self, relays: list[Relay]) -> None:
        """Say which relays there are."""
        new = self.relays_file.with_suffix(".new")
        new.write_bytes(
            msgspec.json.encode([RelayAddress(relay.name, f"tcp://127.0.0.1:{relay.port}") for relay in relays])
        )
        new.replace(self.relays_file)

    def start(self, name: str, port: int = 0) -> Relay:
        """Start a relay with the settings that users get, and wait until it listens. Raises RuntimeError."""
        config, log, ready = (self.folder / f"{name}.{kind}" for kind in ("json", "log", "ready"))
        ready.unlink(missing_ok=True)
        settings = {"fabric": FABRIC, "name": name, "trust": str(self.folder / "trust.pem"), "sinks": 1, "port": port}
        config.write_text(json.dumps({**settings, "curve": str(self.folder / "curve"), "ready_file": str(ready)}))
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "meterfabric_relay.main", "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + _READY_SECONDS
        while (found := read_ready(ready)) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise RuntimeError(f"{name} did not start: {log.read_bytes()[-2000:].decode(errors='replace')}")
            time.sleep(0.02)
        self._running.append(Relay(name, process, found.port))
        return self._running[-1]

    def stop(self) -> None:
        """End every relay."""
        for relay in self._running:
            relay.kill()
        self._running.clear()

    def _producer(self, pod: str) -> Peer:
        key = Ed25519PrivateKey.generate()
        chain = self._authority.issue(make_csr(key, Producer(_DOMAIN, FABRIC, "bench", "bench", pod, pod).spiffe))
        return Peer(origin(FABRIC, "bench", pod, key.public_key().public_bytes_raw()), key.private_bytes_raw(), chain)


def read_peers(path: Path) -> list[Peer]:
    """What `write_peers` laid down."""
    return msgspec.msgpack.decode(path.read_bytes(), type=list[Peer])


@contextlib.contextmanager
def ground() -> Iterator[Ground]:
    """Ground in a temporary folder; its relays end with the block."""
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as name:
        made = Ground(Path(name))
        try:
            yield made
        finally:
            made.stop()
