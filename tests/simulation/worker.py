"""A sink worker: the shell around `SinkCore`. Reading, judging and committing take time, so that workers race."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, TypeAlias

from meterfabric_protocol import message as m
from meterfabric_protocol.delivery.answer import Answer
from meterfabric_protocol.delivery.settings import SinkSettings
from meterfabric_protocol.delivery.sink import SinkCore
from meterfabric_protocol.delivery.stored import Held, LogUpdate, blank
from meterfabric_protocol.delivery.verdict import Incoming, Question, original
from meterfabric_protocol.errors import Malformed
from meterfabric_protocol.hello import HelloBody, sign_hello
from meterfabric_protocol.identity import cosigner

from . import pki
from .destination import Destination, Down, Moved
from .kernel import Violation
from .session import Sessions

if TYPE_CHECKING:
    from .world import World

Steps: TypeAlias = Generator[float, None, None]
"""Work that takes time: yields seconds to wait."""


def _no_zstd(body: bytes, length: int) -> bytes:
    raise Malformed("batch payload", f"{len(body)} bytes compressed, {length} wanted: none was sent compressed")


class Worker:
    """One worker of one sink."""

    def __init__(self, world: World, sink: str, number: int, destination: Destination) -> None:
        self.world = world
        self.kernel = world.kernel
        self.name = f"{sink}-{number}"
        self.sink = sink
        self.destination = destination
        self.boot = 0
        self.tolerant = False
        self.running = False
        self.random = self.kernel.stream("worker", self.name)
        self.sessions: Sessions
        self.core: SinkCore
        self._inbox: deque[Incoming] = deque()
        self._busy = False
        self._view: dict[str, Held] = {}

    # Life

    def start(self) -> None:
        """A process begins; what the store holds is all it knows."""
        self.boot += 1
        self.running = True
        self._inbox.clear()
        self._busy = False
        self._view = {}
        self.core = SinkCore(
            SinkSettings(pki.FABRIC, self.sink), pki.key(f"sink {self.sink}"), pki.verifier(), _no_zstd
        )
        self.sessions = Sessions(self.world, self)
        self.kernel.trace(self.name, "starts")
        self.relays_changed()

    def crash(self) -> None:
        """The process is gone."""
        if not self.running:
            return
        self.kernel.trace(self.name, "crashes")
        self.boot += 1
        self.running = False
        self.world.network.crashed(self.name)

    def drain(self) -> None:
        """SIGTERM: tell the relays, finish what is here, stop."""
        if not self.running:
            return
        self.kernel.trace(self.name, "drains")
        for relay in self.sessions.held:
            self.world.network.to_relay(self.name, relay, m.Draining())
        self.kernel.after(self, 0.5, self.crash)

    def relays_changed(self) -> None:
        """A worker holds a session with every relay there is."""
        if not self.running:
            return
        wanted, held = set(self.world.relay_names), set(self.sessions.held)
        for relay in sorted(wanted - held):
            self.sessions.hold(relay)
        for relay in sorted(held - wanted):
            self.sessions.release(relay)

    # Sessions

    def hello(self, relay: str) -> tuple[bytes, bytes, bytes] | None:
        """See session.Owner."""
        curves = self.world.curve(self.name), self.world.curve(relay)
        wall = int(self.world.wall(self.name))
        nonce = self.random.randbytes(16)
        window = self.world.config.worker_window
        body = HelloBody(1, "sink", cosigner(pki.FABRIC, self.sink), *curves, nonce, self.name, window, wall)
        return (*sign_hello(body, pki.key(f"sink {self.sink}")), pki.sink_chain(self.sink))

    def lost(self, relay: str) -> None:
        """See session.Owner."""

    def broken(self, relay: str) -> None:
        """The connection is no more."""
        self.sessions.broke(relay)

    def arrived(self, relay: str, message: m.Message, frames: m.Frames) -> None:
        """A message of a relay."""
        if not self.sessions.takes(relay, message):
            return
        ticket = (relay, getattr(message, "seq", 0))
        if isinstance(message, m.Deliver):
            payload = frames[2] if len(frames) > 2 else None
            item = Incoming(ticket, message.origin, message.nonce, message.epoch, frames[0], frames[1], payload)
        elif isinstance(message, m.Listen):
            item = Incoming(
                ticket,
                message.origin,
                message.nonce,
                message.epoch,
                frames[0],
                frames[1],
                None,
                head=True,
                probe=message.probe,
            )
        else:
            return
        self._inbox.append(item)
        if not self._busy:
            self._busy = True
            self.kernel.after(self, 0.001, lambda: self._step(self._work()))

    def _step(self, work: Steps) -> None:
        for delay in work:
            self.kernel.after(self, delay, lambda: self._step(work))
            return
        self._busy = False

    # Work

    def _work(self) -> Steps:
        while self._inbox:
            group = [self._inbox.popleft() for _ in range(min(len(self._inbox), 8))]
            yield from self._quick(group)

    def _pause(self) -> float:
        return self.random.uniform(0.0005, 0.005)

    def _quick(self, group: list[Incoming]) -> Steps:
        """On positions as this worker saw them last."""
        if any(item.origin not in self._view for item in group):
            yield from self._slow(group)
            return
        verdict = self.core.judge(group, self._view, frozenset(), self._wall())
        yield self._pause()
        try:
            self._commit(verdict.updates)
        except (Moved, Down):
            self._view.clear()
            yield from self._slow(group)
            return
        self._answer(verdict.answers)
        rest = [*verdict.reread, *(question.item for question in verdict.questions)]
        if rest:
            yield from self._slow(rest)

    def _slow(self, items: Sequence[Incoming]) -> Steps:
        """On what the store says now, until every item is answered."""
        left = list(items)
        wanted: set[str] = set()
        tries = 0
        while left:
            tries += 1
            if tries > 1000:
                raise Violation("livelock", f"{self.name} can't decide on {left[0].origin}")
            try:
                wanted |= {item.origin for item in left}
                held = self._held(wanted)
                yield self._pause()
                verdict = self.core.judge(left, held, held.keys(), self._wall())
                yield self._pause()
                self._commit(verdict.updates)
                self._answer(verdict.answers)
                wanted |= verdict.missing
                left = list(verdict.reread)
                questions = list(verdict.questions)
                while questions:
                    try:
                        yield from self._resolve(questions[0])
                    except (Moved, Down):
                        left += [question.item for question in questions]
                        raise
                    questions.pop(0)
            except Moved:
                continue
            except Down:
                self._view.clear()
                yield 0.5

    def _resolve(self, question: Question) -> Steps:
        item = question.item
        if question.again:
            bodies = [notice.body for notice in self.destination.notices(item.origin)]
            forked = original(bodies, question.checkpoint.first)
            stored = self.destination.receipt(forked.origin, forked.size) if forked else None
            held = self._held({item.origin} | ({forked.origin} if forked else set()))
            yield self._pause()
            verdict = self.core.repeat(question, forked, stored, held, self._wall())
        else:
            stored = self.destination.receipt(item.origin, question.checkpoint.size)
            held = self._held({item.origin})
            yield self._pause()
            verdict = self.core.resolve(question, stored, held[item.origin], self._wall())
        self._commit(verdict.updates)
        self._answer(verdict.answers)

    # Parts

    def _wall(self) -> int:
        return int(self.world.wall(self.sink))

    def _held(self, origins: set[str]) -> dict[str, Held]:
        known = self.destination.positions(sorted(origins))
        held = {origin: known.get(origin) or blank(origin) for origin in sorted(origins)}
        self._view.update(held)
        return held

    def _commit(self, updates: dict[str, LogUpdate]) -> None:
        if not updates:
            return
        self.destination.commit(list(updates.values()))
        for origin, update in updates.items():
            self._view[origin] = update.held
            if self.kernel.traced:
                for batch in update.batches:
                    self.kernel.trace(
                        self.name, f"commits {origin[-6:]} [{batch.first}, {batch.size}) {batch.kind} of {batch.of}"
                    )

    def _answer(self, answers: Sequence[tuple[Incoming, Answer]]) -> None:
        for item, answer in answers:
            self.world.ledger.answer(self.destination, answer)
            relay, seq = item.ticket
            if self.kernel.traced:
                self.kernel.trace(
                    self.name,
                    f"answers {answer.origin[-6:]} {answer.kind} {answer.about} at {answer.size} {answer.reason}",
                )
            self.world.network.to_relay(self.name, relay, m.Reply(seq), self.core.sign(answer))
