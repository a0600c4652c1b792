"""The relay: authenticate, bound, route, forward.

A relay keeps sessions and what is in its memory right now, nothing else. Sessions are keyed by the peer's CURVE public
key (``user``), which the transport authenticated; what a client chose itself (routing ids) is never a name here.

Memory: every byte of a message is charged to the sender's credit for each sink it goes to, and credit comes from a pool
per sink (`credit.Pool`). Toward a worker, at most the window it announced is unanswered.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from meterfabric_protocol import identity
from meterfabric_protocol import message as m
from meterfabric_protocol.delivery.credit import Pool
from meterfabric_protocol.delivery.fair import FairQueue
from meterfabric_protocol.delivery.rendezvous import best
from meterfabric_protocol.errors import ProtocolError
from meterfabric_protocol.hello import Hello


@dataclass(frozen=True)
class RelaySettings:
    """Bounds of a relay, bytes and seconds."""

    name: str
    memory: int = 24 << 20
    """Bytes of records held or promised, all sinks together."""
    sinks: int = 4
    """Sinks the memory is divided among; more are refused."""
    chunk: int = 1 << 20
    """Bytes granted at once."""
    max_message: int = 9 << 20
    """Bytes of the largest message taken."""
    sessions: int = 10_000
    heads: int = 64
    """Heads waiting for one sink, a session; more replace nothing and are dropped (they are repeated)."""
    idle_grant: float = 15.0
    """Seconds credit may lie unused before its session ends: a frozen producer must not hold the memory of others."""
    quantum: int = 65_536


@dataclass(frozen=True)
class Send:
    """Effect: send to the peer of this user."""

    user: str
    message: m.Message
    frames: m.Frames = ()


@dataclass(frozen=True)
class End:
    """Effect: the session of this user is over; forget its route."""

    user: str


Effect: TypeAlias = Send | End
Verify: TypeAlias = Callable[[str, bytes, bytes, bytes], Hello]
"""(user, body, signature, chain) → the HELLO, verified for now; raises ProtocolError with a reason."""


@dataclass
class _Item:
    session: str
    user: str
    origin: str
    sink: str
    epoch: int
    nonce: bytes
    frames: m.Frames
    cost: int
    probe: bool = False
    head: bool = False


@dataclass
class _Producer:
    session: str
    """The user and a serial: a message of an earlier session of the same user must not touch this one's credit."""
    user: str
    nonce: bytes
    granted_at: dict[str, float] = field(default_factory=dict)


@dataclass
class _Worker:
    user: str
    sink: str
    name: str
    chain: bytes
    window: int
    queue: FairQueue[_Item]
    heads: OrderedDict[tuple[str, str], _Item] = field(default_factory=OrderedDict)
    flight: dict[int, _Item] = field(default_factory=dict)
    unanswered: int = 0
    draining: bool = False


class RelayCore:
    """One relay's decisions. Not thread-safe; every method returns effects in the order to be carried out."""

    def __init__(self, settings: RelaySettings, verify: Verify) -> None:
        """``verify`` judges a HELLO (certificate, signature, both curve keys) at the present time."""
        self.settings = settings
        self._verify = verify
        self._producers: dict[str, _Producer] = {}
        self._by_session: dict[str, _Producer] = {}
        self._workers: dict[str, _Worker] = {}
        self._pools: dict[str, Pool] = {}
        self._seq = 0
        self.draining = False
        self.forwarded = 0
        self.forwarded_bytes = 0
        self.dropped = 0
        self.refused: dict[str, int] = {}

    # What the shell asks

    @property
    def sessions(self) -> int:
        """Sessions that stand."""
        return len(self._producers) + len(self._workers)

    @property
    def producers(self) -> int:
        """Producers' sessions that stand."""
        return len(self._producers)

    @property
    def worker_users(self) -> tuple[str, ...]:
        """Users whose sessions are workers'."""
        return tuple(self._workers)

    @property
    def workers(self) -> dict[str, int]:
        """Workers that may be given batches, by sink."""
        counts: dict[str, int] = {}
        for worker in self._workers.values():
            if not worker.draining:
                counts[worker.sink] = counts.get(worker.sink, 0) + 1
        return counts

    @property
    def reserved(self) -> dict[str, tuple[int, int]]:
        """(bytes held or promised, capacity) by sink."""
        return {sink: (pool.reserved, pool.capacity) for sink, pool in self._pools.items()}

    @property
    def in_flight(self) -> int:
        """Messages queued for or unanswered by workers."""
        return sum(len(w.queue) + len(w.flight) for w in self._workers.values())

    # Messages

    def received(self, user: str, message: m.Message, frames: m.Frames, now: float) -> list[Effect]:
        """Take one message of an authenticated peer. ``now``: monotonic seconds."""
        if isinstance(message, m.Hello):
            return self._hello(user, frames, now)
        producer = self._producers.get(user)
        if producer is not None:
            if isinstance(message, m.Batch):
                return self._batch(producer, message, frames, now)
            if isinstance(message, m.Want):
                return self._want(producer, message, now)
            if isinstance(message, m.Head):
                return self._head(producer, message, frames)
            if isinstance(message, m.Bye):
                return self.gone(user, now)
            return self._refuse(user, "unexpected", f"{type(message).__name__} is not for a producer to send", now)
        worker = self._workers.get(user)
        if worker is not None:
            if isinstance(message, m.Reply):
                return self._reply(worker, message, frames, now)
            if isinstance(message, m.Draining):
                worker.draining = True
                return self._rehome(worker, now) + self._announce()
            if isinstance(message, m.Bye):
                return self.gone(user, now)
            return self._refuse(user, "unexpected", f"{type(message).__name__} is not for a worker to send", now)
        return self._refuse(user, "no-session", "HELLO comes first", now)

    def gone(self, user: str, now: float) -> list[Effect]:
        """The peer went away, or could not be sent to: its session ends."""
        producer = self._producers.pop(user, None)
        if producer is not None:
            self._by_session.pop(producer.session)
            # What a worker has stays charged until it answers; what only waits here goes.
            for worker in self._workers.values():
                for item in worker.queue.remove(lambda item: item.user == user):
                    self._pools[item.sink].release(item.session, item.cost)
            for pool in self._pools.values():
                pool.close(producer.session)
            for worker in self._workers.values():
                for key in [key for key in worker.heads if key[0] == user]:
                    del worker.heads[key]
            return [End(user), *self._grant(now)]
        lost = self._workers.pop(user, None)
        if lost is None:
            return []
        effects: list[Effect] = [End(user)]
        for item in lost.flight.values():
            effects += self._lose(item)
        effects += self._rehome(lost, now)
        return effects + self._announce() + self._grant(now)

    def tick(self, now: float) -> list[Effect]:
        """Call about once a second: ends sessions that sit on credit others wait for."""
        effects: list[Effect] = []
        for sink, pool in self._pools.items():
            for session, account in list(pool.accounts.items()):
                producer = self._by_session.get(session)
                if producer is None or account.granted == account.used:
                    continue
                if (
                    now - producer.granted_at.get(sink, now) > self.settings.idle_grant
                    and pool.reserved * 2 > pool.capacity
                ):
                    effects += self._refuse(producer.user, "idle-credit", f"credit for {sink} lay unused too long", now)
        return effects

    def drain(self) -> list[Effect]:
        """Take nothing new: peers are told to go elsewhere, what is in flight is finished."""
        self.draining = True
        return [Send(user, m.Draining()) for user in (*self._producers, *self._workers)]

    # Sessions

    def _hello(self, user: str, frames: m.Frames, now: float) -> list[Effect]:
        if self.draining:
            return self._refuse(user, "draining", "this relay is stopping", now)
        if user not in self._producers and user not in self._workers and self.sessions >= self.settings.sessions:
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
            self._seq += 1
            producer = _Producer(f"{user}/{self._seq}", user, body.nonce)
            self._producers[user] = self._by_session[producer.session] = producer
            return [*effects, welcome, Send(user, m.Sinks(self._chains()))]
        if subject.name not in self._pools and len(self._pools) >= self.settings.sinks:
            return effects + self._refuse(user, "too-many-sinks", f"memory is divided among {self.settings.sinks}", now)
        self._pools.setdefault(subject.name, Pool(self.settings.memory // self.settings.sinks, self.settings.chunk))
        window = max(body.window, self.settings.max_message)
        self._workers[user] = _Worker(user, subject.name, body.worker, chain, window, FairQueue(self.settings.quantum))
        return [*effects, welcome, *self._announce()]

    def _refuse(self, user: str, reason: str, detail: str, now: float) -> list[Effect]:
        self.refused[reason] = self.refused.get(reason, 0) + 1
        known = user in self._producers or user in self._workers
        ended = self.gone(user, now) if known else [End(user)]
        return [Send(user, m.Refused(reason, detail)), *ended]

    def _chains(self) -> dict[str, tuple[bytes, ...]]:
        chains: dict[str, set[bytes]] = {}
        for worker in self._workers.values():
            if not worker.draining:
                chains.setdefault(worker.sink, set()).add(worker.chain)
        return {sink: tuple(sorted(those)) for sink, those in sorted(chains.items())}

    def _announce(self) -> list[Effect]:
        sinks = m.Sinks(self._chains())
        return [Send(user, sinks) for user in self._producers]

    # From producers

    def _batch(self, producer: _Producer, message: m.Batch, frames: m.Frames, now: float) -> list[Effect]:
        cost = m.cost_of(frames)
        if cost > self.settings.max_message:
            return self._refuse(
                producer.user, "too-large", f"a message of {cost} bytes, at most {self.settings.max_message}", now
            )
        effects: list[Effect] = []
        touched: list[_Worker] = []
        for target in message.targets:
            pool = self._pools.get(target.sink)
            if pool is None or not pool.use(producer.session, cost):
                return effects + self._refuse(
                    producer.user, "no-credit", f"{cost} bytes for {target.sink} were sent without credit", now
                )
            producer.granted_at[target.sink] = now
            item = _Item(
                producer.session, producer.user, message.origin, target.sink, target.epoch, producer.nonce, frames, cost
            )
            worker = self._route(target.sink, message.origin)
            if worker is None:
                effects += self._lose(item)
            else:
                worker.queue.push(item.origin, cost, item)
                touched.append(worker)
        for worker in touched:
            effects += self._forward(worker)
        return effects + self._grant(now)

    def _head(self, producer: _Producer, message: m.Head, frames: m.Frames) -> list[Effect]:
        effects: list[Effect] = []
        for target in message.targets:
            worker = self._route(target.sink, message.origin)
            if worker is None:
                if message.probe:
                    effects.append(Send(producer.user, m.Unroutable(message.origin, target.sink, target.epoch)))
                continue
            key = (producer.user, message.origin)
            mine = sum(1 for user, _ in worker.heads if user == producer.user)
            if key not in worker.heads and mine >= self.settings.heads:
                self.dropped += 1
                continue
            probe = message.probe or (key in worker.heads and worker.heads[key].probe)
            worker.heads[key] = _Item(
                producer.session,
                producer.user,
                message.origin,
                target.sink,
                target.epoch,
                producer.nonce,
                frames,
                0,
                probe,
                True,
            )
            effects += self._forward(worker)
        return effects

    def _want(self, producer: _Producer, message: m.Want, now: float) -> list[Effect]:
        if not message.wishes:
            return [Send(producer.user, m.Sinks(self._chains()))]
        effects: list[Effect] = []
        for sink, wish in message.wishes.items():
            pool = self._pools.get(sink)
            if pool is None:
                continue
            if not pool.ask(producer.session, wish):
                return self._refuse(
                    producer.user, "too-large", f"{wish.next} bytes for {sink}, its memory is {pool.capacity}", now
                )
            if pool.accounts[producer.session].granted >= wish.total:
                # Said again: the grant may have been lost, and what was given back is confirmed.
                effects.append(Send(producer.user, m.Grant(sink, pool.accounts[producer.session].granted)))
        return effects + self._grant(now)

    def _grant(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for sink, pool in self._pools.items():
            for session, total in pool.grants():
                producer = self._by_session[session]
                producer.granted_at[sink] = now
                effects.append(Send(producer.user, m.Grant(sink, total)))
        return effects

    # Toward workers

    def _route(self, sink: str, origin: str) -> _Worker | None:
        able = {w.name + "/" + w.user: w for w in self._workers.values() if w.sink == sink and not w.draining}
        name = best(origin, able)
        return None if name is None else able[name]

    def _forward(self, worker: _Worker) -> list[Effect]:
        effects: list[Effect] = []
        while worker.heads and len(worker.flight) < self.settings.sessions:
            _, item = worker.heads.popitem(last=False)
            self._seq += 1
            if item.probe:
                worker.flight[self._seq] = item
            listen = m.Listen(self._seq, item.origin, item.nonce, item.epoch, item.probe)
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
            deliver = m.Deliver(self._seq, queued.origin, queued.nonce, queued.epoch)
            effects.append(Send(worker.user, deliver, queued.frames))
        return effects

    def _reply(self, worker: _Worker, message: m.Reply, frames: m.Frames, now: float) -> list[Effect]:
        item = worker.flight.pop(message.seq, None)
        if item is None:
            return []
        worker.unanswered -= item.cost
        effects: list[Effect] = []
        if item.session in self._by_session:
            effects.append(Send(item.user, m.Answered(item.sink, item.origin), frames))
        if not item.head:
            self._pools[item.sink].release(item.session, item.cost)
        return effects + self._forward(worker) + self._grant(now)

    def _rehome(self, worker: _Worker, now: float) -> list[Effect]:
        effects: list[Effect] = []
        touched: dict[str, _Worker] = {}
        for item in (*worker.heads.values(), *worker.queue.drain()):
            other = self._route(item.sink, item.origin)
            if other is None:
                effects += self._lose(item)
            elif item.head:
                other.heads[(item.user, item.origin)] = item
                touched[other.user] = other
            else:
                other.queue.push(item.origin, item.cost, item)
                touched[other.user] = other
        worker.heads.clear()
        for other in touched.values():
            effects += self._forward(other)
        return effects + self._grant(now)

    def _lose(self, item: _Item) -> list[Effect]:
        """The message leaves without an answer: free its memory, tell its producer."""
        self.dropped += 1
        if not item.head:
            self._pools[item.sink].release(item.session, item.cost)
        if item.session not in self._by_session or (item.head and not item.probe):
            return []
        return [Send(item.user, m.Unroutable(item.origin, item.sink, item.epoch))]
