"""A sidecar: the shell around `ProducerCore`, with a disk, a key folder and a group commit in memory.

What it does at start, on a fork and when it stops follows the real shell; the decision which log goes on is the real
shell's own function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from meterfabric_protocol import batch as batches
from meterfabric_protocol import message as m
from meterfabric_protocol import notice as notices
from meterfabric_protocol.delivery import effects as fx
from meterfabric_protocol.delivery.permit import sign_permit
from meterfabric_protocol.delivery.producer import ProducerCore
from meterfabric_protocol.delivery.settings import ProducerSettings
from meterfabric_protocol.delivery.upkeep import Boundary
from meterfabric_protocol.hello import HelloBody, sign_hello
from meterfabric_protocol.identity import CertificateError, Sink
from meterfabric_protocol.notice import Notice

from . import pki
from .disk import Head, SpoolBatch
from .kernel import Violation
from .logs import Job, Logs
from .session import Sessions
from .start import start_with

if TYPE_CHECKING:
    from .world import World


class Sidecar(Logs):
    """One pod's sidecar."""

    def __init__(self, world: World, pod: str) -> None:
        super().__init__(world, pod)
        self.tolerant = True
        self.stopping = False

    # Life

    def start(self) -> None:
        """A process begins on what the disk and the key folder hold."""
        self.boot += 1
        self.running, self.stopping, self.accepting = True, False, True
        self.started_at = self.kernel.now
        self._jobs.clear()
        self._flying = None
        self.sessions = Sessions(self.world, self)
        self._cursors, self._drops = {}, {}
        begin = start_with(self.keys, list(self.disk.logs.values()))
        if begin is not None:
            self._begin(begin)
        active = self.disk.active
        self.keys.head = Head(active.origin, active.size, active.root)
        if self.kernel.traced:
            self.kernel.trace(self.name, f"starts, {active.origin[-6:]} at {active.size}{' (new)' if begin else ''}")
        known = self.disk.sinks or tuple(policy.name for policy in self.world.policies)
        wanted = {policy.name: policy for policy in self.world.policies}
        before = [wanted.get(sink) or fx.SinkPolicy(sink) for sink in known]
        settings = ProducerSettings(
            fabric=pki.FABRIC, name=self.name, secret=self.random.randbytes(32), **self.world.config.producer
        )
        self.core = ProducerCore(settings, before, self._verify_sink, self._sign_permit)
        for log in self.disk.logs.values():
            cursors = {sink: row for (origin, sink), row in self.disk.cursors.items() if origin == log.origin}
            self._do(self.core.add_log(log.facts(self._bare(log), cursors), self.now))
        self._do(self.core.set_relays(self.world.relay_names, self.now))
        for log in list(self.disk.logs.values()):
            for batch in log.batches:
                if batch.damaged and not batch.told:
                    self._damaged(log.origin, batch)
        self.configure()
        self._enrol()
        self._tick()
        self._flush_later()

    def crash(self) -> None:
        """The process is gone; of a batch under way, the disk may have all or nothing."""
        if not self.running:
            return
        self.kernel.trace(self.name, "crashes")
        flying = self._flying
        if flying is not None and self.random.random() < 0.5:
            head = self.keys.head
            self._seal(flying)
            if self.random.random() < 0.5:
                self.keys.head = head
        self._stop()

    def _stop(self) -> None:
        self.disk.clock = self.now
        self.boot += 1
        self.running = self.accepting = False
        self.world.network.crashed(self.name)

    def terminate(self) -> None:
        """SIGTERM: take nothing more, close the log, deliver for a while, stop."""
        if not self.running or self.stopping:
            return
        self.kernel.trace(self.name, "drains")
        self.stopping, self.accepting = True, False
        self._close_when_idle()
        self.kernel.after(self, self.world.config.drain, self._stop)

    def _close_when_idle(self) -> None:
        if self._jobs or self._flying:
            self.kernel.after(self, 0.01, self._close_when_idle)
            return
        active = self.disk.active
        closed = notices.Closed(log=active.origin, records=active.records)
        self._enqueue(Job("notices", [notices.encode(closed)], lambda: None, last=True))

    @property
    def asking(self) -> bool:
        """Whether a sink has yet to say where it is, or to show it."""
        return any(
            not cursor.known or cursor.proving or cursor.showing
            for log in self.core.logs.values()
            for cursor in log.cursors.values()
        )

    @property
    def quiet(self) -> bool:
        """Whether nothing waits and every sink has all of every log. What a stopping one finds out, the next start acts
        upon."""
        if not self.running or self.stopping or self._jobs or self._flying is not None:
            return False
        return all(
            cursor.acked >= log.end and (cursor.showing or not cursor.flights) and cursor.settled
            for log in self.core.logs.values()
            for cursor in log.cursors.values()
        )

    # The core's effects

    def _do(self, effects: Sequence[fx.Effect]) -> None:
        for log in self.core.logs.values():
            for cursor in log.cursors.values():
                last = cursor.flights[-1].cost if cursor.flights else 0
                if cursor.in_flight - last >= self.core.settings.window:
                    raise Violation("window", f"{self.name}: {cursor.in_flight} bytes in flight to {cursor.sink}")
        for effect in effects:
            match effect:
                case fx.Send(relay, message, frames):
                    self.world.network.to_relay(self.name, relay, message, frames)
                case fx.Dial(relay):
                    self.sessions.hold(relay)
                case fx.HangUp(relay):
                    self.sessions.release(relay)
                case fx.Fetch(origin, first, max_bytes):
                    self._later(lambda o=origin, f=first, b=max_bytes: self._fetch(o, f, b))  # type: ignore[misc]
                case fx.SaveCursor(origin, sink, row):
                    self._cursors[origin, sink] = row
                case fx.RemoveCursor(origin, sink):
                    self._cursors[origin, sink] = None
                case fx.SealNotices(tag, those) if not self.stopping:
                    # The log of one that stops has ended: the real shell tries in vain until the process does too.
                    self._enqueue(Job("notices", [notices.encode(n) for n in those], self._told(tag, those)))
                case fx.Drop(origin, size):
                    self._drops[origin] = max(size, self._drops.get(origin, 0))
                case fx.Forget(origin):
                    self.disk.logs.pop(origin, None)
                    self.world.ledger.forgotten.add(origin)
                case fx.Fork() if not self.stopping:
                    self._fork(effect)
                case fx.Progress() if effect.received:
                    # Receipts for a batch tell of a time after it was sent.
                    since = self.kernel.now - effect.seconds
                    if not self.world.held_since(effect.sink, effect.origin, effect.size, since):
                        where = f"{effect.origin} at {effect.size}"
                        raise Violation("believed-a-lie", f"{self.name}: {effect.sink} does not hold {where}")
                case fx.Alarm(word, origin, sink, detail):
                    self.kernel.trace(self.name, f"ALARM {word} {origin[-6:]} {sink}: {detail}")
                    self.world.alarms.add((word, origin))
                case _:
                    pass

    def _later(self, action: Callable[[], None]) -> None:
        self.kernel.after(self, self.random.uniform(0.0005, 0.01), action)

    def _fetch(self, origin: str, first: int, max_bytes: int) -> None:
        parcels: list[fx.Parcel] = []
        log = self.disk.logs.get(origin)
        for batch in log.batches if log else ():
            if batch.size <= first or (parcels and max_bytes <= 0):
                continue
            if batch.rotten and batch.payload is not None:
                batch = self._quarantine(origin, batch)  # noqa: PLW2901
            if batch.damaged and not batch.told:
                break
            max_bytes -= len(batch.payload or b"")
            parcels.append(batch.parcel())
            if len(parcels) >= 4:
                break
        self._do(self.core.fetched(origin, first, parcels, self.now))

    def _quarantine(self, origin: str, batch: SpoolBatch) -> SpoolBatch:
        damaged = replace(batch, payload=None, damaged=True)
        self.disk.change(origin, batch.first, damaged)
        self._damaged(origin, damaged)
        return damaged

    def _damaged(self, origin: str, batch: SpoolBatch) -> None:
        self._do(self.core.damaged(origin, batch.first, batch.size, "hash", self.now))

    def _told(self, tag: int, those: tuple[Notice, ...]) -> Callable[[], None]:
        def durable() -> None:
            for notice in those:
                if isinstance(notice, notices.Damaged) and notice.log in self.disk.logs:
                    log = self.disk.logs[notice.log]
                    for batch in log.batches:
                        if batch.damaged and any(a <= batch.first and batch.size <= b for a, b in notice.ranges):
                            self.disk.change(log.origin, batch.first, replace(batch, told=True))
            self._do(self.core.notices_sealed(tag, self.now))

        return durable

    def _flush_later(self) -> None:
        self._persist()
        self.kernel.after(self, self.random.uniform(0.5, 2.0), self._flush_later)

    # Sessions

    def hello(self, relay: str) -> tuple[bytes, bytes, bytes] | None:
        """See session.Owner."""
        log = self._last_log()
        if log.chain is None:
            return None
        nonce = self.random.randbytes(16)
        curves = self.world.curve(self.name), self.world.curve(relay)
        body = HelloBody(1, "producer", log.origin, *curves, nonce, "", 0, int(self.world.wall(self.name)))
        self.core.hello_sent(relay, nonce)
        return (*sign_hello(body, pki.key(log.key)), log.chain)

    def lost(self, relay: str) -> None:
        """See session.Owner."""
        self._do(self.core.lost(relay, self.now))

    def arrived(self, relay: str, message: m.Message, frames: m.Frames) -> None:
        """A message of a relay."""
        if self.sessions.takes(relay, message):
            self._do(self.core.received(relay, message, frames, self.now))

    def broken(self, relay: str) -> None:
        """The connection is no more."""
        self.sessions.broke(relay)

    def _sign_permit(self, stub: batches.BatchHeader, sinks: Sequence[str]) -> bytes:
        log = self._last_log()
        return sign_permit(stub, sinks, pki.key(log.key), log.chain or b"")

    def _verify_sink(self, sink: str, chain: bytes) -> bytes:
        identity = pki.verifier().verify(chain, self.world.time(self.name), role="sink", fabric=pki.FABRIC)
        subject = identity.subject
        if not isinstance(subject, Sink) or subject.name != sink:
            raise CertificateError("wrong-role", f"{identity.name} is not {sink}")
        return identity.public_key

    # Time

    def configure(self) -> None:
        """The fabric's sinks are others now."""
        if self.running:
            self.disk.sinks = tuple(policy.name for policy in self.world.policies)
            self._do(self.core.configure(self.world.policies, self.now))

    def relays_changed(self) -> None:
        """The fabric's relays are others now."""
        if self.running:
            self._do(self.core.set_relays(self.world.relay_names, self.now))

    def _enrol(self) -> None:
        """Get a certificate for the active log's key while the operator is there; renew it at a third of its life."""
        log = self._last_log()
        if self.world.operator_up:
            chain = pki.producer_chain(self.name, log.key, self.world.kernel.now + pki.EPOCH)
            if chain != log.chain:
                self.disk.logs[log.origin] = replace(log, chain=chain)
                self._do(self.core.enrolled(log.origin, chain, self.now))
        self.kernel.after(self, self.random.uniform(0.1, 0.5) if log.chain is None else 60.0, self._enrol)

    def _tick(self) -> None:
        self._do(self.core.tick(self.now))
        for boundary in self.core.expiry_questions(self.now):
            self._expire(boundary, "age")
        missing = self.disk.bytes - self.world.config.quota
        if missing > 0:
            effects, boundaries = self.core.relieve(missing, self.now)
            self._do(effects)
            for boundary in boundaries:
                self._expire(boundary, "quota")
        due = self.core.due()
        delay = 1.0 if due is None else min(1.0, max(0.01, due - self.now))
        self.kernel.after(self, delay, self._tick)

    def _expire(self, boundary: Boundary, reason: Literal["age", "quota"]) -> None:
        log = self.disk.logs.get(boundary.origin)
        size, left = boundary.first, boundary.bytes or 0
        for batch in log.batches if log else ():
            if batch.first < boundary.first:
                continue
            if boundary.older_than is not None and batch.sealed_at >= boundary.older_than:
                break
            if boundary.bytes is not None and left <= 0:
                break
            left -= len(batch.payload or b"")
            if batch.header.of == "records":
                size = batch.size
        if size > boundary.first:
            self._do(self.core.expire(boundary.origin, boundary.sink, size, reason, self.now))
