"""The relay: authenticate, bound, route, forward.

A relay keeps sessions and what is in its memory right now, nothing else. Sessions are keyed by the peer's CURVE public
key (``user``), which the transport authenticated; what a client chose itself (routing ids) is never a name here.

`lending.Lender` keeps the producers and what each may send, `workers.Workers` the workers and what each is sent; here
messages pass from the one to the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeAlias

from meterfabric_protocol import identity
from meterfabric_protocol import message as m
from meterfabric_protocol.delivery.lending import Lender
from meterfabric_protocol.delivery.relayed import Effect, End, Item, Producer, Send
from meterfabric_protocol.delivery.settings import RelaySettings
from meterfabric_protocol.delivery.workers import Worker, Workers
from meterfabric_protocol.errors import ProtocolError
from meterfabric_protocol.hello import Hello

Verify: TypeAlias = Callable[[str, bytes, bytes, bytes], Hello]
"""(user, body, signature, chain) → the HELLO, verified for now; raises ProtocolError with a reason."""


class RelayCore:
    """One relay's decisions. Not thread-safe; every method returns effects in the order to be carried out."""

    def __init__(self, settings: RelaySettings, verify: Verify) -> None:
        """``verify`` judges a HELLO (certificate, signature, both curve keys) at the present time."""
        self.settings = settings
        self._verify = verify
        self._lender = Lender(settings)
        self._workers = Workers(settings)
        self.draining = False
        self.dropped = 0
        self.answered: Counter[str] = Counter()
        """Answers that workers gave so far, by sink."""
        self.refused: Counter[str] = Counter()

    # What the shell asks

    @property
    def sessions(self) -> int:
        """Sessions that stand."""
        return self.producers + len(self._workers.by_user)

    @property
    def producers(self) -> int:
        """Producers' sessions that stand."""
        return len(self._lender.producers)

    @property
    def worker_users(self) -> tuple[str, ...]:
        """Users whose sessions are workers'."""
        return tuple(self._workers.by_user)

    @property
    def workers(self) -> dict[str, int]:
        """Workers that may be given batches, by sink."""
        return self._workers.able

    @property
    def reserved(self) -> dict[str, tuple[int, int]]:
        """(bytes held or promised, capacity) by sink."""
        return {sink: (pool.reserved, pool.capacity) for sink, pool in self._lender.pools.items()}

    @property
    def in_flight(self) -> int:
        """Messages queued for or unanswered by workers."""
        return sum(len(worker.queue) + len(worker.flight) for worker in self._workers.by_user.values())

    @property
    def forwarded(self) -> int:
        """Batches given to workers so far."""
        return self._workers.forwarded

    @property
    def forwarded_bytes(self) -> int:
        """What those batches cost."""
        return self._workers.forwarded_bytes

    # Messages

    def received(self, user: str, message: m.Message, frames: m.Frames, now: float) -> list[Effect]:
        """Take one message of an authenticated peer. ``now``: monotonic seconds."""
        if isinstance(message, m.Hello):
            return self._hello(user, frames, now)
        if isinstance(message, m.Bye) and self._known(user):
            return self.gone(user, now)
        producer = self._lender.producers.get(user)
        if producer is not None:
            return self._of_producer(producer, message, frames, now)
        worker = self._workers.by_user.get(user)
        if worker is not None:
            return self._of_worker(worker, message, frames, now)
        return self._refuse(user, "no-session", "HELLO comes first", now)

    def gone(self, user: str, now: float) -> list[Effect]:
        """The peer went away, or could not be sent to: its session ends."""
        producer = self._lender.remove(user)
        if producer is not None:
            # What a worker has stays charged until it answers; what only waits here goes.
            for item in self._workers.forget(user):
                self._lender.release(item)
            self._lender.close(producer)
            return [End(user), *self._lender.grants(now)]
        lost = self._workers.remove(user)
        if lost is None:
            return []
        effects: list[Effect] = [End(user)]
        for item in lost.flight.values():
            effects += self._lose(item)
        effects += self._rehome(lost, now)
        return effects + self._announce() + self._lender.grants(now)

    def tick(self, now: float) -> list[Effect]:
        """Call about once a second: ends sessions that sit on credit others wait for."""
        effects: list[Effect] = []
        for user, sink in self._lender.idle(now):
            effects += self._refuse(user, "idle-credit", f"credit for {sink} lay unused too long", now)
        return effects

    def drain(self) -> list[Effect]:
        """Take nothing new: peers are told to go elsewhere, what is in flight is finished."""
        self.draining = True
        return [Send(user, m.Draining()) for user in (*self._lender.producers, *self._workers.by_user)]

    # Sessions

    def _known(self, user: str) -> bool:
        return user in self._lender.producers or user in self._workers.by_user

    def _hello(self, user: str, frames: m.Frames, now: float) -> list[Effect]:
        if self.draining:
            return self._refuse(user, "draining", "this relay is stopping", now)
        if not self._known(user) and self.sessions >= self.settings.sessions:
            return self._refuse(user, "full", f"{self.settings.sessions} sessions stand, the most allowed", now)
        signed, signature, chain = (bytes(frame) for frame in frames)
        try:
            hello = self._verify(user, signed, signature, chain)
        except ProtocolError as error:
            return self._refuse(user, str(getattr(error, "reason", "hello")), str(error), now)
        effects = [e for e in self.gone(user, now) if not isinstance(e, End)]
        welcome = Send(user, m.Welcome(self.settings.name, self.settings.max_message))
        body, subject = hello.body, hello.identity.subject
        if isinstance(subject, identity.Producer):
            self._lender.admit(user, body.nonce)
            return [*effects, welcome, self._sinks(user)]
        if not self._lender.open(subject.name):
            return effects + self._refuse(user, "too-many-sinks", f"memory is divided among {self.settings.sinks}", now)
        self._workers.admit(user, subject.name, body.worker, chain, body.window)
        return [*effects, welcome, *self._announce()]

    def _refuse(self, user: str, reason: str, detail: str, now: float) -> list[Effect]:
        self.refused[reason] += 1
        ended = self.gone(user, now) if self._known(user) else [End(user)]
        return [Send(user, m.Refused(reason, detail)), *ended]

    def _sinks(self, user: str) -> Effect:
        return Send(user, m.Sinks(self._workers.chains()))

    def _announce(self) -> list[Effect]:
        return [self._sinks(user) for user in self._lender.producers]

    # From producers

    def _of_producer(self, producer: Producer, message: m.Message, frames: m.Frames, now: float) -> list[Effect]:
        match message:
            case m.Batch():
                return self._batch(producer, message, frames, now)
            case m.Want():
                return self._want(producer, message, now)
            case m.Head():
                return self._head(producer, message, frames)
        what = f"{type(message).__name__} is not for a producer to send"
        return self._refuse(producer.user, "unexpected", what, now)

    def _batch(self, producer: Producer, message: m.Batch, frames: m.Frames, now: float) -> list[Effect]:
        user, cost, most = producer.user, m.cost_of(frames), self.settings.max_message
        if cost > most:
            return self._refuse(user, "too-large", f"a message of {cost} bytes, at most {most}", now)
        effects: list[Effect] = []
        touched: list[Worker] = []
        for target in message.targets:
            if not self._lender.use(producer, target.sink, cost, now):
                what = f"{cost} bytes for {target.sink} were sent without credit"
                return effects + self._refuse(user, "no-credit", what, now)
            item = Item(producer, message.origin, target.sink, target.epoch, frames, cost)
            worker = self._workers.route(producer, target.sink, message.origin)
            if worker is None:
                effects += self._lose(item)
            else:
                worker.queue.push(item.origin, cost, item)
                touched.append(worker)
        return effects + self._workers.forward(touched) + self._lender.grants(now)

    def _head(self, producer: Producer, message: m.Head, frames: m.Frames) -> list[Effect]:
        effects: list[Effect] = []
        for target in message.targets:
            item = Item(producer, message.origin, target.sink, target.epoch, frames, head=True, probe=message.probe)
            worker = self._workers.route(producer, target.sink, message.origin)
            if worker is None:
                effects += self._unroutable(item)
            elif self._workers.queue_head(worker, item):
                effects += self._workers.forward([worker])
            else:
                self.dropped += 1
        return effects

    def _want(self, producer: Producer, message: m.Want, now: float) -> list[Effect]:
        if not message.wishes:
            return [self._sinks(producer.user)]
        effects: list[Effect] = []
        for sink, wish in message.wishes.items():
            told = self._lender.ask(producer, sink, wish)
            if told is None:
                what = f"{wish.next} bytes for {sink}, its memory is {self._lender.capacity}"
                return self._refuse(producer.user, "too-large", what, now)
            effects += told
        return effects + self._lender.grants(now)

    # From workers

    def _of_worker(self, worker: Worker, message: m.Message, frames: m.Frames, now: float) -> list[Effect]:
        match message:
            case m.Reply():
                return self._reply(worker, message, frames, now)
            case m.Draining():
                self._workers.drain(worker)
                # Its own word back, behind everything that it was ever given.
                return [Send(worker.user, m.Draining()), *self._rehome(worker, now), *self._announce()]
        return self._refuse(worker.user, "unexpected", f"{type(message).__name__} is not for a worker to send", now)

    def _reply(self, worker: Worker, message: m.Reply, frames: m.Frames, now: float) -> list[Effect]:
        item = self._workers.answered(worker, message.seq)
        if item is None:
            return []
        self.answered[item.sink] += 1
        effects: list[Effect] = []
        if self._lender.stands(item):
            effects.append(Send(item.sender.user, m.Answered(item.sink, item.origin), frames))
        self._lender.release(item)
        return effects + self._workers.forward([worker]) + self._lender.grants(now)

    def _rehome(self, worker: Worker, now: float) -> list[Effect]:
        left, sent = self._workers.rehome(worker)
        effects: list[Effect] = []
        for item in left:
            effects += self._lose(item)
        return effects + sent + self._lender.grants(now)

    def _lose(self, item: Item) -> list[Effect]:
        """The message leaves without an answer: free its memory, tell its producer."""
        self.dropped += 1
        self._lender.release(item)
        return self._unroutable(item)

    def _unroutable(self, item: Item) -> list[Effect]:
        if not self._lender.stands(item) or not item.wants_answer:
            return []
        return [Send(item.sender.user, m.Unroutable(item.origin, item.sink, item.epoch))]
