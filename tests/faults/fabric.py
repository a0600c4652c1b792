"""A whole fabric of real processes in one folder: an authority, relays, sinks and sidecars, to be broken at will."""

from __future__ import annotations

import http.client
import json
import sqlite3
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from meterfabric_protocol.names import Producer
from meterfabric_protocol.names import Sink as SinkName
from meterfabric_runtime.authority import LocalAuthority
from meterfabric_runtime.authority_desk import Desk
from meterfabric_runtime.csr import make_csr
from meterfabric_runtime.curve import CurveKeys, to_z85
from meterfabric_runtime.files import write_whole
from tests.faults.load import Load, http_load, zmq_load
from tests.faults.process import PATIENCE, Process, free_port, wait_until

FABRIC = "metering.faults"
TRUST_DOMAIN = "faults.local"
RELAY_MEMORY = 36 << 20
"""Bytes of records that a relay holds or promises at most: a largest message for each of four sinks."""
RECEIPT_TIMEOUT = 0.5
"""Short, so that a batch lost on the way is sent again while a test watches."""


@dataclass
class Sink:
    """One sink: where it stores, what it is owed, and its workers (file and sqlite take one)."""

    name: str
    url: str
    policy: dict[str, Any]
    key: Ed25519PrivateKey
    workers: list[Process]

    @property
    def worker(self) -> Process:
        """The only worker."""
        (one,) = self.workers
        return one


class Fabric:
    """See the module. Use as a context: every process is killed at the end of the block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.authority = LocalAuthority(
            folder / "authority", trust_domain=TRUST_DOMAIN, admits=lambda _: True, clock=lambda: datetime.now(UTC)
        )
        self._desk = Desk(self.authority)
        self.trust = folder / "authority" / "trust.pem"
        self.curve = CurveKeys.load_or_create(folder / "relay.curve")
        self.relays: dict[str, Process] = {}
        self.sinks: dict[str, Sink] = {}
        self.sidecars: dict[str, Process] = {}
        self.loads: list[Load] = []
        self.enrolling = threading.Event()
        """Cleared, the authority is away."""
        self.enrolling.set()
        self._over = threading.Event()
        self._serving = threading.Thread(target=self._serve, name="authority")

    def __enter__(self) -> Fabric:
        self._serving.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._serving.join(PATIENCE)
        for process in self.processes():
            process.kill()

    def _serve(self) -> None:
        while not self._over.wait(0.05):
            if self.enrolling.is_set():
                self._desk.answer()

    def processes(self) -> list[Process]:
        """All of them, running or not."""
        workers = [worker for sink in self.sinks.values() for worker in sink.workers]
        return [*self.sidecars.values(), *self.relays.values(), *workers]

    # Making

    def add_relay(self, name: str, **settings: Any) -> Process:
        """A relay on a port of its own, not yet started nor listed."""
        port = settings.pop("port", None) or free_port()
        relay = self.relays[name] = Process(
            self.folder,
            name,
            "meterfabric_relay.main",
            {
                "fabric": FABRIC,
                "name": name,
                "trust": str(self.trust),
                "curve": str(self.folder / "relay.curve"),
                "port": port,
                "http_port": free_port(),
                "sinks": 4,
                "memory": RELAY_MEMORY,
                **settings,
            },
        )
        return relay

    def add_sink(self, name: str, kind: str = "file", *, url: str = "", workers: int = 1, **policy: Any) -> Sink:
        """A sink with workers, not yet started; listed at once, which a running sidecar sees as one that joins.

        `kind` is file or sqlite, or `url` says it all. `policy` is as in the sidecar's list of sinks.
        """
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_whole(self.folder / f"{name}.key", pem)
        write_whole(
            self.folder / f"{name}.pem",
            self.authority.issue(make_csr(key, SinkName(TRUST_DOMAIN, FABRIC, name).spiffe)),
        )
        place = self.folder / "sinks" / name
        place.mkdir(parents=True, exist_ok=True)
        where = url or (f"file:{place}" if kind == "file" else f"sqlite:{place / 'records.db'}")
        processes = [
            Process(
                self.folder,
                f"{name}-{number}",
                "meterfabric_sink.main",
                {
                    "fabric": FABRIC,
                    "name": name,
                    "worker": f"{name}-{number}",
                    "trust": str(self.trust),
                    "key": str(self.folder / f"{name}.key"),
                    "chain": str(self.folder / f"{name}.pem"),
                    "relays": str(self.folder / "relays.json"),
                    "relay_key": to_z85(self.curve.public).decode(),
                    "url": where,
                },
            )
            for number in range(workers)
        ]
        sink = self.sinks[name] = Sink(name, where, policy, key, processes)
        self.list_sinks()
        return sink

    def add_sidecar(self, name: str, **settings: Any) -> Process:
        """A sidecar on ports of its own, not yet started."""
        sidecar = self.sidecars[name] = Process(
            self.folder,
            name,
            "meterfabric_sidecar.main",
            {
                "fabric": FABRIC,
                "trust_domain": TRUST_DOMAIN,
                "namespace": "tests",
                "pod": name,
                "pod_uid": f"uid-{name}",
                "service_account": "default",
                "spool_dir": str(self.spool(name)),
                "key_dir": str(self.key_folder(name)),
                "trust": str(self.trust),
                "authority": str(self.folder / "authority"),
                "relays": str(self.folder / "relays.json"),
                "sinks": str(self.folder / "sinks.json"),
                "relay_key": to_z85(self.curve.public).decode(),
                "http_port": free_port(),
                "zmq_port": free_port(),
                "receipt_timeout": RECEIPT_TIMEOUT,
                **settings,
            },
        )
        return sidecar

    def spool(self, sidecar: str) -> Path:
        """A sidecar's spool folder."""
        return self.folder / f"{sidecar}-spool"

    def key_folder(self, sidecar: str) -> Path:
        """The folder of a sidecar's key and head."""
        return self.folder / f"{sidecar}-key"

    def spiffe(self, sidecar: str) -> str:
        """Who a sidecar is."""
        return Producer(TRUST_DOMAIN, FABRIC, "tests", "default", sidecar, f"uid-{sidecar}").spiffe

    # Running

    def start(self) -> Fabric:
        """List what was made, start what doesn't run, and wait until all listen."""
        self.list_relays()
        self.list_sinks()
        for process in self.processes():
            if not process.alive:
                process.start()
        for process in self.processes():
            process.ready()
        return self

    def list_relays(self, only: Iterable[str] | None = None) -> None:
        """Tell sidecars and workers which relays there are: all that were made, or `only` these."""
        names = self.relays.keys() if only is None else only
        addresses = [
            {"name": name, "endpoint": f"tcp://127.0.0.1:{self.relays[name].settings['port']}"} for name in names
        ]
        write_whole(self.folder / "relays.json", json.dumps(addresses).encode())

    def list_sinks(self) -> None:
        """Tell sidecars which sinks there are."""
        entries = [{"name": sink.name, **sink.policy} for sink in self.sinks.values()]
        write_whole(self.folder / "sinks.json", json.dumps(entries).encode())

    def load(self, sidecar: str, name: str = "", **how: Any) -> Load:
        """A client of this sidecar over HTTP, remembered for the books; begins with its block."""
        made = http_load(name or f"client{len(self.loads)}", self.sidecars[sidecar].settings["http_port"], **how)
        self.loads.append(made)
        return made

    def zmq_load(self, sidecar: str, name: str = "", **how: Any) -> Load:
        """The same over ZeroMQ."""
        made = zmq_load(name or f"client{len(self.loads)}", self.sidecars[sidecar].settings["zmq_port"], **how)
        self.loads.append(made)
        return made

    # Looking

    def page(self, process: Process, path: str) -> str:
        """One of a process's HTTP pages; OSError where it doesn't answer."""
        port = process.settings.get("http_port") or process.ready().http_port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()

    def status(self, sidecar: str) -> dict[str, Any]:
        """A sidecar's /status, empty while it doesn't answer."""
        try:
            found: dict[str, Any] = json.loads(self.page(self.sidecars[sidecar], "/status"))
        except OSError:
            return {}
        return found

    def metric(self, process: Process, name: str, **labels: str) -> float:
        """The sum of a metric's values that have these labels, 0 where there is none."""
        total = 0.0
        for line in self.page(process, "/metrics").splitlines():
            sample, _, value = line.rpartition(" ")
            if sample.partition("{")[0] == name and all(f'{key}="{label}"' in sample for key, label in labels.items()):
                total += float(value)
        return total

    def alarms(self, sidecar: str, alarm: str) -> float:
        """How often a sidecar raised this alarm since it started."""
        return self.metric(self.sidecars[sidecar], "meterfabric_sidecar_alarms_total", alarm=alarm)

    def settled(self, *sinks: str) -> bool:
        """Whether every log of every sidecar is all with these sinks (with none given: with every one)."""
        wanted = set(sinks or self.sinks)
        for name in self.sidecars:
            logs = self.status(name).get("logs")
            if not logs or not any(log["active"] and log["superseded_at"] is None for log in logs):
                return False
            if self._repeats(name):
                return False
            for log in logs:
                end = log["size"] if log["superseded_at"] is None else min(log["size"], log["superseded_at"])
                if wanted - log["sinks"].keys() or any(log["sinks"][sink]["acked"] < end for sink in wanted):
                    return False
        return True

    def _repeats(self, sidecar: str) -> bool:
        """Whether the end of a log is still being repeated in another."""
        spool = sqlite3.connect(f"file:{self.spool(sidecar)}/spool.db?mode=ro", uri=True)
        try:
            (count,) = spool.execute("SELECT count(*) FROM logs WHERE broken_at IS NOT NULL").fetchone()
        finally:
            spool.close()
        return bool(count)

    def settle(self, *sinks: str, seconds: float = PATIENCE) -> None:
        """Wait until `settled`."""
        try:
            wait_until(lambda: self.settled(*sinks), f"{sinks or 'every sink'} settled", seconds)
        except AssertionError as error:
            where = {name: self.status(name) for name in self.sidecars}
            raise AssertionError(f"{error}; {json.dumps(where, indent=1)}") from None
