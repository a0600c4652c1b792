"""The shipper: carries out what the delivery core decides, with the spool, the relays and the intake.

It decides nothing about records. Everything that may take long (reading batches, sealing notices) runs as a task of its
own and comes back to the core as a message would.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import zmq

from meterfabric_protocol import message as m
from meterfabric_protocol.delivery import effects as e
from meterfabric_protocol.delivery.producer import ProducerCore
from meterfabric_protocol.delivery.upkeep import Boundary
from meterfabric_protocol.notice import Notice
from meterfabric_runtime.relay_link import MakeHello, RelayLink
from meterfabric_runtime.zmq_options import Bounds
from meterfabric_sidecar.ingest.intake import Full, Unavailable
from meterfabric_sidecar.intake import Intake
from meterfabric_sidecar.meters import Meters
from meterfabric_sidecar.spool import Spool, SpoolFull
from meterfabric_sidecar.spool.rows import StoredBatch

log = logging.getLogger(__name__)

_TICK = 0.1
_SWEEP = 1.0
_FETCH_BATCHES = 256
_RETRY = 0.5


@dataclass
class _Forking:
    """A log whose end is being repeated in another, so many times at once, and up to where it is to be dropped then."""

    count: int = 0
    drop_to: int = 0


class Shipper:
    """Drives a `ProducerCore`. Everything happens on the loop's thread."""

    def __init__(
        self,
        core: ProducerCore,
        spool: Spool,
        intake: Intake,
        meters: Meters,
        *,
        server_key: bytes,
        make_hello: MakeHello,
        on_fork: Callable[[e.Fork], Coroutine[Any, Any, None]],
        on_opened: Callable[[str], bytes],
        max_message: int,
    ) -> None:
        """``server_key``: the relays' raw public CURVE key. ``on_fork`` opens a log that repeats a forked one's end;
        ``on_opened(origin)`` is told of a new log's first batch and returns what stands for its chain meanwhile.
        """
        self.core = core
        self._spool = spool
        self._intake = intake
        self._meters = meters
        self._server_key = server_key
        self._make_hello = make_hello
        self._on_fork = on_fork
        self._on_opened = on_opened
        self._bounds = Bounds(message=max_message, queued=10_000, heartbeat=2_000, heartbeat_timeout=6_000)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._jitter = random.SystemRandom()
        self._endpoints: Mapping[str, str] = {}
        self.links: dict[str, RelayLink] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._forking: dict[str, _Forking] = {}

    # What others tell

    async def start(self) -> None:
        """Take over the logs that the spool has."""
        now = self._now()
        self._spool.on_damaged = self._damaged
        for facts in await self._spool.facts():
            self._do(self.core.add_log(facts, now))
        # What was found damaged before this, too, while the log was opened.
        for untold in await self._spool.untold():
            self._do(self.core.damaged(untold.origin, untold.first, untold.size, untold.cause, now))

    def on_sealed(self, batch: StoredBatch) -> None:
        """A batch is durable."""
        self._meters.sealed(batch)
        if batch.origin not in self.core.logs:
            facts = e.LogFacts(batch.origin, 0, True, self._on_opened(batch.origin), b"")
            self._do(self.core.add_log(facts, self._now()))
        self._do(self.core.sealed(batch.origin, batch.parcel, self._now()))

    def set_relays(self, relays: Mapping[str, str]) -> None:
        """The relays there are, endpoints by name."""
        moved = [name for name, link in self.links.items() if relays.get(name, link.endpoint) != link.endpoint]
        self._endpoints = dict(relays)
        for name in moved:
            self.links.pop(name).close()
            self._do(self.core.lost(name, self._now()))
            self._dial(name)
        self._do(self.core.set_relays(relays, self._now()))

    def set_sinks(self, policies: tuple[e.SinkPolicy, ...]) -> None:
        """The sinks there are."""
        self._do(self.core.configure(policies, self._now()))

    def enrolled(self, origin: str, chain: bytes) -> None:
        """The log has a (new) certificate."""
        self._do(self.core.enrolled(origin, chain, self._now()))
        for link in self.links.values():
            link.enrolled()

    async def run(self) -> None:
        """Keep time for the core; cancel to end."""
        swept = 0.0
        while True:
            due = self.core.due()
            now = self._now()
            pause = _TICK if due is None else min(max(due - now, 0.005), _TICK)
            await asyncio.sleep(pause)
            now = self._now()
            self._do(self.core.tick(now))
            if now - swept >= _SWEEP:
                swept = now
                await self._sweep()
            elif self._spool.pressure().missing > 0:
                await self._relieve()

    async def settled(self) -> None:
        """Return once every sink has everything."""
        while self._forking or not all(log.finished for log in self.core.logs.values() if log.cursors):
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        """End all sessions."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for link in self.links.values():
            link.close()
        self._context.term()

    # Effects

    def _now(self) -> float:
        return self._spool.clock.now()

    def _do(self, effects: list[e.Effect]) -> None:
        for effect in effects:
            self._act(effect)

    def _act(self, effect: e.Effect) -> None:
        match effect:
            case e.Send(relay, message, frames):
                link = self.links.get(relay)
                if link is not None and not link.send(message, frames):
                    log.warning("a relay's queue is full", extra={"relay": relay, "kind": type(message).__name__})
            case e.SaveCursor(origin, sink, row):
                self._spool.save_cursor(origin, sink, row)
            case e.Progress():
                self._meters.progress(effect)
            case e.Fetch(origin, first, max_bytes):
                self._start(self._fetch(origin, first, max_bytes))
            case e.Drop(origin, size) if origin in self._forking:
                # What lies past its end is still being copied into the log that goes on.
                self._forking[origin].drop_to = size
            case e.Drop(origin, size):
                self._spool.drop_to(origin, size)
            case e.SealNotices(tag, notices):
                self._start(self._seal(tag, notices))
            case e.Dial(relay):
                self._dial(relay)
            case e.HangUp(relay):
                link = self.links.pop(relay, None)
                if link is not None:
                    link.close()
            case e.RemoveCursor(origin, sink):
                self._spool.remove_cursor(origin, sink)
            case e.Forget(origin):
                self._start(self._spool.forget(origin))
            case e.Fork(origin):
                self._forking.setdefault(origin, _Forking()).count += 1
                self._start(self._fork(effect))
            case e.Alarm(word, origin, sink, detail):
                self._meters.alarms.labels(word).inc()
                level = logging.ERROR if word in ("equivocation", "lost-by-sink", "damaged") else logging.WARNING
                log.log(level, detail, extra={"alarm": word, "log": origin, "sink": sink})

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the shipper failed: %s", error, exc_info=error)

    def _dial(self, relay: str) -> None:
        endpoint = self._endpoints.get(relay)
        if endpoint is None or relay in self.links or self._closed:
            return
        self.links[relay] = RelayLink(
            self._context,
            relay,
            endpoint,
            self._server_key,
            self._make_hello,
            on_hello=self.core.hello_sent,
            on_message=self._message,
            on_lost=lambda name: self._do(self.core.lost(name, self._now())),
            bounds=self._bounds,
            jitter=self._jitter,
        )

    def _message(self, relay: str, message: m.Message, frames: list[zmq.Frame]) -> None:
        self._do(self.core.received(relay, message, [frame.bytes for frame in frames], self._now()))

    async def _fetch(self, origin: str, first: int, max_bytes: int) -> None:
        try:
            batches = await self._spool.fetch(origin, first, max_bytes, _FETCH_BATCHES)
        except (KeyError, SpoolFull, sqlite3.Error) as error:
            log.warning("batches can't be read now", extra={"log": origin, "first": first, "reason": str(error)})
            batches = []
        self._do(self.core.fetched(origin, first, [batch.parcel for batch in batches], self._now()))

    async def _fork(self, fork: e.Fork) -> None:
        await self._on_fork(fork)
        forking = self._forking[fork.origin]
        forking.count -= 1
        if not forking.count:
            del self._forking[fork.origin]
            if forking.drop_to:
                self._spool.drop_to(fork.origin, forking.drop_to)

    async def _seal(self, tag: int, notices: tuple[Notice, ...]) -> None:
        """Notices are never given up: nothing may vanish for want of room to say so."""
        while True:
            try:
                await self._intake.seal_notices(notices)
                break
            except (Full, Unavailable) as error:
                log.warning("notices can't be kept yet", extra={"reason": str(error)})
                await asyncio.sleep(_RETRY)
        self._meters.noticed(notices)
        self._do(self.core.notices_sealed(tag, self._now()))

    def _damaged(self, origin: str, first: int, size: int, cause: str) -> None:
        self._do(self.core.damaged(origin, first, size, cause, self._now()))

    # Room and age

    async def _sweep(self) -> None:
        now = self._now()
        for question in self.core.expiry_questions(now):
            await self._give_up(question, "age")
        await self._relieve()
        await self._meters.look(self.core, self._spool, now)

    async def _relieve(self) -> None:
        missing = self._spool.pressure().missing
        if missing > 0:
            effects, questions = self.core.relieve(missing, self._now())
            self._do(effects)
            for question in questions:
                await self._give_up(question, "quota")

    async def _give_up(self, question: Boundary, reason: Literal["age", "quota"]) -> None:
        try:
            if question.older_than is not None:
                size = await self._spool.boundary_at(question.origin, question.first, question.older_than)
            else:
                size = await self._spool.boundary_after(question.origin, question.first, question.bytes or 0)
        except (KeyError, sqlite3.Error) as error:
            log.warning("the spool can't be asked now", extra={"log": question.origin, "reason": str(error)})
            return
        if size > question.first:
            self._do(self.core.expire(question.origin, question.sink, size, reason, self._now()))
