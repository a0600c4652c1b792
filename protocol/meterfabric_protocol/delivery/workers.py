"""A relay's side toward sink workers: which of them gets a message, whose turn it is, and what each has in hand.

At most the window that a worker announced is unanswered; what waits is queued by log, each having its turn
(`fair.FairQueue`). Heads come first: they are small, and only the newest of a log waits.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from meterfabric_protocol import message as m
from meterfabric_protocol.delivery.fair import FairQueue
from meterfabric_protocol.delivery.relayed import Item, Producer, Send
from meterfabric_protocol.delivery.rendezvous import best
from meterfabric_protocol.delivery.settings import RelaySettings

ROUTES = 64
"""Choices remembered of a producer: it has few logs and sinks, and naming ever new ones must not cost memory."""


@dataclass
class Worker:
    """A worker's session: what waits for it, and by number what it has in hand."""

    user: str
    sink: str
    name: str
    chain: bytes
    window: int
    queue: FairQueue[Item]
    heads: OrderedDict[tuple[str, str], Item] = field(default_factory=OrderedDict)
    """By the producer's user and the log."""
    flight: dict[int, Item] = field(default_factory=dict)
    unanswered: int = 0
    draining: bool = False


class Workers:
    """The workers whose sessions stand."""

    def __init__(self, settings: RelaySettings) -> None:
        self.by_user: dict[str, Worker] = {}
        self.forwarded = 0
        self.forwarded_bytes = 0
        self._settings = settings
        self._seq = 0
        self._able: dict[str, dict[str, Worker]] = {}
        """By sink and name, those that may be given messages."""
        self._changes = 0
        """Counts how often that changed."""

    # Sessions

    def admit(self, user: str, sink: str, name: str, chain: bytes, window: int) -> None:
        """A worker's session begins."""
        queue: FairQueue[Item] = FairQueue(self._settings.quantum)
        self.by_user[user] = Worker(user, sink, name, chain, max(window, self._settings.max_message), queue)
        self._changed()

    def drain(self, worker: Worker) -> None:
        """This one takes nothing more; it answers what it has in hand."""
        worker.draining = True
        self._changed()

    def remove(self, user: str) -> Worker | None:
        """A worker's session is over; returns it, None where there was none."""
        lost = self.by_user.pop(user, None)
        if lost is not None:
            self._changed()
        return lost

    def _changed(self) -> None:
        self._changes += 1
        self._able = {}
        for worker in self.by_user.values():
            if not worker.draining:
                self._able.setdefault(worker.sink, {})[worker.name + "/" + worker.user] = worker

    @property
    def able(self) -> Counter[str]:
        """How many may be given messages, by sink."""
        return Counter({sink: len(workers) for sink, workers in self._able.items()})

    def chains(self) -> dict[str, tuple[bytes, ...]]:
        """The certificate chains of those that may be given messages, by sink."""
        return {
            sink: tuple(sorted({worker.chain for worker in workers.values()}))
            for sink, workers in sorted(self._able.items())
        }

    # What waits

    def route(self, producer: Producer, sink: str, origin: str) -> Worker | None:
        """The worker of the sink that this producer's log goes to, None where there is none.

        Each is looked at for the first batch only: the choice stays until a worker comes or goes.
        """
        if producer.routes_of != self._changes:
            producer.routes.clear()
            producer.routes_of = self._changes
        chosen = producer.routes.get((sink, origin))
        if chosen is not None:
            return self.by_user[chosen]
        able = self._able.get(sink, {})
        name = best(origin, able)
        if name is None:
            return None
        if len(producer.routes) >= ROUTES:
            producer.routes.clear()
        producer.routes[sink, origin] = able[name].user
        return able[name]

    def queue_head(self, worker: Worker, item: Item) -> bool:
        """Let a head wait in place of an older one of its log; False where too many of its producer's wait already."""
        key = (item.sender.user, item.origin)
        before = worker.heads.get(key)
        if before is None and sum(1 for user, _ in worker.heads if user == item.sender.user) >= self._settings.heads:
            return False
        item.probe = item.probe or (before is not None and before.probe)
        worker.heads[key] = item
        return True

    def forget(self, user: str) -> list[Item]:
        """A producer is gone: what of its messages only waits goes too; returns the batches."""
        gone: list[Item] = []
        for worker in self.by_user.values():
            gone += worker.queue.remove(lambda item: item.sender.user == user)
            for key in [key for key in worker.heads if key[0] == user]:
                del worker.heads[key]
        return gone

    def rehome(self, worker: Worker) -> tuple[list[Item], list[Send]]:
        """Give to others of its sink what waits for a worker that is gone or takes no more; (what nobody takes, what is
        sent)."""
        left: list[Item] = []
        touched: dict[str, Worker] = {}
        for item in (*worker.heads.values(), *worker.queue.drain()):
            other = self.route(item.sender, item.sink, item.origin)
            if other is None:
                left.append(item)
                continue
            touched[other.user] = other
            if item.head:
                other.heads[(item.sender.user, item.origin)] = item
            else:
                other.queue.push(item.origin, item.cost, item)
        worker.heads.clear()
        return left, self.forward(touched.values())

    # What is in hand

    def forward(self, workers: Iterable[Worker]) -> list[Send]:
        """Send to these workers what their windows allow."""
        return [effect for worker in workers for effect in self._forward(worker)]

    def _forward(self, worker: Worker) -> list[Send]:
        effects: list[Send] = []
        while worker.heads and len(worker.flight) < self._settings.sessions:
            _, item = worker.heads.popitem(last=False)
            self._seq += 1
            if item.probe:
                worker.flight[self._seq] = item
            listen = m.Listen(self._seq, item.origin, item.sender.nonce, item.epoch, item.probe)
            effects.append(Send(worker.user, listen, item.frames))
        while worker.unanswered < worker.window:
            queued = worker.queue.pop(worker.window - worker.unanswered)
            if queued is None:
                break
            self._seq += 1
            worker.flight[self._seq] = queued
            worker.unanswered += queued.cost
            self.forwarded += 1
            self.forwarded_bytes += queued.cost
            deliver = m.Deliver(self._seq, queued.origin, queued.sender.nonce, queued.epoch)
            effects.append(Send(worker.user, deliver, queued.frames))
        return effects

    def answered(self, worker: Worker, seq: int) -> Item | None:
        """What the worker had in hand under this number, and has no more; None where it was nothing."""
        item = worker.flight.pop(seq, None)
        if item is not None:
            worker.unanswered -= item.cost
        return item
