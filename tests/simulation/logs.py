"""A sidecar's logs: how leaves are gathered, sealed and made durable, and how one log takes the place of another.

What is done at start and on a fork follows the real shell.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from msgspec import UNSET

from meterfabric_protocol import batch as batches
from meterfabric_protocol import notice as notices
from meterfabric_protocol.delivery import effects as fx
from meterfabric_protocol.delivery.credential import bare
from meterfabric_protocol.delivery.producer import ProducerCore
from meterfabric_protocol.merkle import EMPTY_ROOT, leaf_hashes
from meterfabric_protocol.notice import Again, Continues, Notice

from . import pki
from .disk import Disk, Head, KeyFolder, SpoolBatch, SpoolLog
from .session import Sessions
from .start import Begin

if TYPE_CHECKING:
    from .world import World


@dataclass
class Job:
    """Leaves that wait to be sealed, and what to do once they are durable."""

    kind: batches.Content
    leaves: list[bytes]
    then: Callable[[], None]
    last: bool = False


class Logs(ABC):
    """The half of a sidecar that appends; `sidecar.Sidecar` is the other one."""

    def __init__(self, world: World, pod: str) -> None:
        self.world = world
        self.kernel = world.kernel
        self.name = pod
        self.boot = 0
        self.disk = Disk()
        self.keys = KeyFolder()
        self.running = False
        self.accepting = False
        self.random = self.kernel.stream("sidecar", pod)
        self.started_at = 0.0
        self._made = 0
        self._jobs: deque[Job] = deque()
        self._flying: Job | None = None
        self._cursors: dict[tuple[str, str], fx.CursorRow | None] = {}
        self._drops: dict[str, int] = {}
        self.core: ProducerCore
        self.sessions: Sessions

    @property
    def now(self) -> float:
        """The spool clock: monotonic, stands still while the sidecar does not run."""
        return self.disk.clock + self.kernel.now - self.started_at

    @abstractmethod
    def _do(self, effects: Sequence[fx.Effect]) -> None:
        """Carry out what the core asks for."""

    @abstractmethod
    def _enrol(self) -> None:
        """Get a certificate for the active log's key."""

    @abstractmethod
    def _quarantine(self, origin: str, batch: SpoolBatch) -> SpoolBatch:
        """Put a damaged payload aside, and say so."""

    # Logs

    def _bare(self, log: SpoolLog) -> bytes:
        return bare(pki.key(log.key).public_key())

    def _new_log(self, why: Callable[[str], Sequence[Notice]]) -> SpoolLog:
        """Throw the key away and begin a new log with its first notices, in one step."""
        self._made += 1
        name = f"{self.name} {self._made}"
        origin = pki.origin_of(self.name, name)
        for old in self.disk.logs.values():
            if old.state == "active":
                self.disk.logs[old.origin] = replace(old, state="dead")
        self.disk.logs[origin] = SpoolLog(origin, name, "active")
        self.world.ledger.opened(self.name, origin)
        self.keys.key, self.keys.head = name, Head(origin, 0, EMPTY_ROOT)
        self._seal(Job("notices", [notices.encode(notice) for notice in why(origin)], lambda: None))
        return self.disk.logs[origin]

    def _begin(self, begin: Begin) -> None:
        self._new_log(begin.notices)

    def _fork(self, fork: fx.Fork) -> None:
        """End a log where a sink's branch parts from it, and append what lies past that again in a new one."""
        if self._flying is not None:
            self.kernel.after(self, 0.005, lambda: self._fork(fork))
            return
        log, active = self.disk.logs[fork.origin], self.disk.active
        end = log.size if log.superseded_at is None else min(log.superseded_at, log.size)
        again = [b for b in log.batches if fork.common <= b.first and b.size <= end]
        records = [b for b in again if b.header.of == "records" and b.payload is not None and not b.rotten]
        self.kernel.trace(self.name, f"forks {fork.origin[-6:]} at {fork.common}, {len(records)} batches again")
        ends_other = active.origin != log.origin
        root = log.root_at(fork.common)
        if root is None:
            raise AssertionError(f"{fork.common} is no boundary of {log.origin}")

        def why(origin: str) -> list[Notice]:
            at = 2 if ends_other else 1
            those = []
            for batch in records:
                those.append(Again(batch.first, batch.size, at, batch.root))
                at += batch.size - batch.first
            heard = max(log.size, fork.heard)
            first = Continues(
                log=origin,
                previous=log.origin,
                size=fork.common,
                root=root,
                heard=heard if heard > fork.common else UNSET,
                reason="forked",
                again=tuple(those),
            )
            if not ends_other:
                return [first]
            return [
                first,
                Continues(log=origin, previous=active.origin, size=active.size, root=active.root, reason="restart"),
            ]

        opened = self._new_log(why)
        self.disk.logs[log.origin] = replace(self.disk.logs[log.origin], superseded_at=fork.common)
        for batch in records:
            self._repeat(batch, "records")
        for batch in again:
            if batch.header.of == "notices" and batch.payload is not None:
                self._repeat(batch, "notices")
        rotten = [b for b in again if b.rotten and not b.damaged]
        log = self.disk.logs[opened.origin]
        self._do(self.core.add_log(log.facts(self._bare(log), {}), self.now))
        for batch in rotten:
            # What can't be repeated is said to be damaged, to those sinks too that would never have asked for it here.
            self._quarantine(fork.origin, batch)
        self._enrol()
        self.sessions.renew()

    def _repeat(self, batch: SpoolBatch, kind: batches.Content) -> None:
        leaves = batches.split(batch.payload or b"", batch.header)
        if kind == "notices":
            # A log opens and closes once; what was said about ranges of leaves still holds.
            leaves = [
                leaf
                for leaf in leaves
                if not isinstance(notices.decode(leaf), notices.Opened | notices.Continues | notices.Closed)
            ]
        if leaves:
            self._seal(Job(kind, leaves, lambda: None))

    def rot(self, origin: str, batch: SpoolBatch) -> None:
        """The disk will give back other bytes for this batch than were written."""
        self.kernel.trace(self.name, f"disk rots {origin[-6:]} [{batch.first}, {batch.size})")
        payload = batch.payload or b""
        self.disk.change(origin, batch.first, replace(batch, rotten=True, payload=payload[:-2] + b"?\n"))

    # Sealing

    def submit(self, records: list[bytes]) -> None:
        """The application sends records; they are answered once durable, or refused here and now."""
        if not self.running or not self.accepting or self.disk.bytes > self.world.config.quota:
            return
        self.world.ledger.submitted(self.name, records)
        self._enqueue(Job("records", records, lambda: self.world.ledger.answered(self.name, records)))

    def _enqueue(self, job: Job) -> None:
        self._jobs.append(job)
        self._fly()

    def _fly(self) -> None:
        if self._flying is not None or not self._jobs:
            return
        job = self._flying = self._jobs.popleft()
        delay = self.random.uniform(0.001, 0.02)
        self.kernel.after(self, delay, lambda: self._land(job))

    def _land(self, job: Job) -> None:
        sealed = self._seal(job)
        self._flying = None
        self._persist()
        active = self.disk.active if not job.last else self._last_log()
        self._do(self.core.sealed(active.origin, sealed.parcel(), self.now))
        job.then()
        self._fly()

    def _last_log(self) -> SpoolLog:
        return next(reversed(self.disk.logs.values()))

    def _seal(self, job: Job) -> SpoolBatch:
        """Seal a batch and make it durable; then the head beside the key moves."""
        log = self.disk.active
        header, after = batches.seal(
            log.origin, pki.key(log.key), log.frontier, leaf_hashes(job.leaves), job.kind, batches.join(job.leaves)
        )
        payload = batches.join(job.leaves)
        batch = SpoolBatch(header.first, header.size, header, payload, after.root(), after, self.now)
        self.disk.logs[log.origin] = replace(
            log,
            batches=(*log.batches, batch),
            records=log.records + (len(job.leaves) if job.kind == "records" else 0),
            state="closed" if job.last else "active",
        )
        self.keys.head = Head(log.origin, batch.size, batch.root)
        if job.kind == "records":
            self.world.ledger.sealed(log.origin, batch.first, job.leaves)
        if self.kernel.traced:
            self.kernel.trace(
                self.name, f"seals {log.origin[-6:]} [{batch.first}, {batch.size}) {job.kind} {brief(job)}"
            )
        return batch

    def _persist(self) -> None:
        """Cursors and drops that wait go with a commit, together; a crash before it loses them together."""
        for key, row in self._cursors.items():
            if row is None:
                self.disk.cursors.pop(key, None)
            else:
                self.disk.cursors[key] = row
        for origin, size in self._drops.items():
            self.disk.drop(origin, size)
        self._cursors, self._drops = {}, {}


def brief(job: Job) -> str:
    return (
        " ".join(leaf[:120].decode() for leaf in job.leaves) if job.kind == "notices" else f"{len(job.leaves)} leaves"
    )
