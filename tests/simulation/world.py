"""A fabric in one process: who is there, what time each believes it to be, and what may be done to them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from meterfabric_protocol.delivery.effects import SinkPolicy

from . import pki
from .destination import Destination, Rows
from .disk import Disk, KeyFolder
from .kernel import Kernel
from .ledger import Ledger
from .liar import Liar
from .network import CALM, Network, Weather
from .relay import Relay
from .sidecar import Sidecar
from .worker import Worker


@dataclass(frozen=True)
class Config:
    """How a fabric is set up."""

    pods: tuple[str, ...] = ("web-0",)
    relays: tuple[str, ...] = ("relay-0",)
    sinks: tuple[SinkPolicy, ...] = (SinkPolicy("billing", expiry=None),)
    joiners: tuple[SinkPolicy, ...] = ()
    """Sinks that may join later."""
    workers: int = 1
    weather: Weather = CALM
    producer: dict[str, Any] = field(default_factory=dict)
    relay: dict[str, Any] = field(default_factory=dict)
    worker_window: int = 8_000
    quota: int = 1 << 30
    drain: float = 5.0
    liar: tuple[str, str] | None = None
    """A relay, and how it lies for ever, after the healing too: one honest relay beside it is enough."""


class World:
    """All processes of one fabric."""

    def __init__(self, config: Config, kernel: Kernel) -> None:
        self.config = config
        self.kernel = kernel
        self.network = Network(kernel)
        self.network.weather = config.weather
        self.ledger = Ledger()
        self.policies: tuple[SinkPolicy, ...] = config.sinks
        self.relay_names: tuple[str, ...] = config.relays
        self.operator_up = True
        self.alarms: set[tuple[str, str]] = set()
        """What sidecars raised an alarm about: the word and the log."""
        self._offsets: dict[str, float] = {}
        self.sidecars = {pod: Sidecar(self, pod) for pod in config.pods}
        self.relays = {name: Liar(self, name) for name in config.relays}
        self.destinations: dict[str, Destination] = {}
        self.workers: dict[str, list[Worker]] = {}
        self.spool_backups: dict[str, tuple[Disk, KeyFolder]] = {}
        self.sink_backups: dict[str, Rows] = {}
        for policy in (*config.sinks, *config.joiners):
            destination = Destination(policy.name, kernel.stream("destination", policy.name))
            self.destinations[policy.name] = destination
            self.workers[policy.name] = [Worker(self, policy.name, n, destination) for n in range(config.workers)]

    def start(self) -> None:
        """Everything begins."""
        for relay in self.relays.values():
            relay.start()
        for policy in self.policies:
            for worker in self.workers[policy.name]:
                worker.start()
        for sidecar in self.sidecars.values():
            sidecar.start()

    # What everybody asks

    def curve(self, name: str) -> bytes:
        """The raw curve key of a process."""
        return hashlib.sha256(b"curve " + name.encode()).digest()

    def wall(self, name: str) -> float:
        """Unix time as that process believes it to be."""
        return pki.EPOCH + self.kernel.now + self._offsets.get(name, 0.0)

    def time(self, name: str) -> datetime:
        """The same, aware."""
        return datetime.fromtimestamp(self.wall(name), UTC)

    def held_since(self, sink: str, origin: str, size: int, since: float) -> bool:
        """Whether a sink has the batch that ends there, or may have had it at some time since then."""
        held = any(batch.size == size for batch in self.destinations[sink].rows.batches.get(origin, ()))
        return held or self.ledger.restored.get(sink, -1e9) >= since

    # What is done to them

    def jump(self, name: str, offset: float) -> None:
        """A wall clock goes wrong by that many seconds; 0 puts it right."""
        self._offsets[name] = offset

    def restart(self, pod: str, delay: float, meanwhile: Callable[[Sidecar], None] = lambda _: None) -> None:
        """A sidecar crashes; something happens to what it left; it starts again."""
        sidecar = self.sidecars[pod]
        sidecar.crash()
        meanwhile(sidecar)
        self._start_later(sidecar, delay)

    def _start_later(self, process: Sidecar | Relay | Worker, delay: float) -> None:
        boot = process.boot

        def start() -> None:
            if process.boot == boot and not process.running:
                process.start()

        self.kernel.at(delay, start)

    def terminate(self, pod: str, delay: float) -> None:
        """A sidecar is stopped in an orderly way, and started later."""
        sidecar = self.sidecars[pod]
        if sidecar.running and not sidecar.stopping:
            sidecar.terminate()
            boot = sidecar.boot
            wait = self.config.drain + delay
            self.kernel.at(wait, lambda: sidecar.start() if sidecar.boot == boot + 1 and not sidecar.running else None)

    def back_up_spool(self, pod: str) -> None:
        """Copy a sidecar's disk and its key folder."""
        sidecar = self.sidecars[pod]
        disk = sidecar.disk.copy()
        if sidecar.running:
            disk.clock = sidecar.now
        self.spool_backups[pod] = (disk, sidecar.keys.copy())

    def roll_back(self, pod: str, delay: float, *, with_key: bool) -> None:
        """The disk is as it was at the last backup; the key and its head too where ``with_key``."""
        backup = self.spool_backups.get(pod)
        if backup is None:
            return

        def put_back(sidecar: Sidecar) -> None:
            self.ledger.rolled_back(pod, sidecar.disk, backup[0])
            self._note_stubs(pod)
            # What was on its way through the relays then.
            self.kernel.at(3.0, lambda: self._note_stubs(pod))
            sidecar.disk = backup[0].copy()
            if with_key:
                sidecar.keys = backup[1].copy()

        self.restart(pod, delay, put_back)

    def _note_stubs(self, pod: str) -> None:
        for sink, destination in self.destinations.items():
            for origin, batches in destination.rows.batches.items():
                if self.ledger.logs[origin] == pod:
                    self.ledger.passed |= {(sink, origin, b.first) for b in batches if b.kind == "stub"}

    def lose_key(self, pod: str, delay: float) -> None:
        """The key is gone, and mostly its head with it."""

        def lose(sidecar: Sidecar) -> None:
            sidecar.keys = KeyFolder(None, sidecar.keys.head if sidecar.random.random() < 0.3 else None)

        self.restart(pod, delay, lose)

    def rot(self, pod: str, pick: float) -> None:
        """A payload on the disk is no longer what was written."""
        sidecar = self.sidecars[pod]
        found = [
            (log.origin, batch)
            for log in sidecar.disk.logs.values()
            for batch in log.batches
            if batch.payload is not None and not batch.rotten and batch.header.of == "records"
        ]
        if found:
            origin, batch = found[int(pick * len(found))]
            sidecar.rot(origin, batch)
            self.ledger.rotten.add((origin, batch.first))

    def restart_worker(self, sink: str, number: int, delay: float, *, drain: bool = False) -> None:
        """One worker of a sink stops and starts again."""
        workers = self.workers[sink]
        worker = workers[number % len(workers)]
        if not worker.running:
            return
        if drain:
            worker.drain()
            boot = worker.boot
            self.kernel.at(0.5 + delay, lambda: worker.start() if worker.boot == boot + 1 else None)
        else:
            worker.crash()
            self._start_later(worker, delay)

    def sink_away(self, sink: str, delay: float) -> None:
        """Every worker of a sink is gone for a while."""
        for number in range(len(self.workers[sink])):
            self.restart_worker(sink, number, delay)

    def restore_sink(self, sink: str, delay: float) -> None:
        """A sink's store is as it was at the last backup, or empty where there is none."""
        for worker in self.workers[sink]:
            worker.crash()
        destination = self.destinations[sink]
        destination.rows = self.sink_backups.get(sink, Rows()).copy()
        self.ledger.restored[sink] = self.kernel.now
        self.kernel.trace(sink, "is restored from a backup")
        if any(policy.name == sink for policy in self.policies):
            for worker in self.workers[sink]:
                self._start_later(worker, delay)

    def back_up_sink(self, sink: str) -> None:
        """Copy a sink's store."""
        self.sink_backups[sink] = self.destinations[sink].rows.copy()

    def change_sinks(self, policies: tuple[SinkPolicy, ...]) -> None:
        """The fabric's sinks are these now."""
        before = {policy.name for policy in self.policies}
        self.policies = policies
        wanted = {policy.name for policy in policies}
        self.kernel.trace("fabric", f"sinks {sorted(wanted)}")
        for sink in sorted(wanted - before):
            self.ledger.joined.add(sink)
            for worker in self.workers[sink]:
                if not worker.running:
                    worker.start()
        for sink in sorted(before - wanted):
            for worker in self.workers[sink]:
                worker.crash()
        for sidecar in self.sidecars.values():
            sidecar.configure()

    def change_relays(self, names: tuple[str, ...]) -> None:
        """The fabric's relays are these now."""
        self.kernel.trace("fabric", f"relays {list(names)}")
        for name in names:
            if name not in self.relays:
                self.relays[name] = Liar(self, name)
            if not self.relays[name].running:
                self.relays[name].start()
        for name in self.relay_names:
            if name not in names:
                self.relays[name].drain()
        self.relay_names = names
        for sidecar in self.sidecars.values():
            sidecar.relays_changed()
        for workers in self.workers.values():
            for worker in workers:
                worker.relays_changed()

    def heal(self) -> None:
        """Everything that was broken works again; nobody's state is touched."""
        self.kernel.trace("world", "heals")
        self.network.weather = CALM
        self.network.join()
        self.operator_up = True
        self._offsets.clear()
        for relay in self.relays.values():
            relay.lies = frozenset()
        if self.config.liar is not None and self.config.liar[0] in self.relay_names and len(self.relay_names) > 1:
            liar = self.relays[self.config.liar[0]]
            liar.lies, liar.often = frozenset(self.config.liar[1:]), 1.0
        for name in self.relay_names:
            if not self.relays[name].running:
                self.relays[name].start()
        for destination in self.destinations.values():
            destination.down, destination.flaky = False, 0.0
        for policy in self.policies:
            for worker in self.workers[policy.name]:
                if not worker.running:
                    worker.start()
        for sidecar in self.sidecars.values():
            if not sidecar.running:
                sidecar.start()

    @property
    def quiet(self) -> bool:
        """Whether every sink has all that it is owed, as far as is known."""
        return all(sidecar.quiet for sidecar in self.sidecars.values())

    @property
    def asking(self) -> bool:
        """Whether a sink has yet to say where it is."""
        return any(sidecar.asking for sidecar in self.sidecars.values())
