"""The worker: a group of messages is judged while the one before it is committed; answers leave after the commit.

The quick way judges on the positions that earlier commits will have made, so that hashing and fsync overlap. Whatever
is not a plain *yes* there takes the slow way: nothing under way, positions read from the store, one thing at a time.
A destination that is away holds everything up here, which is what fills the relays' windows and then holds back the
producers; nothing is dropped and nothing is answered.

A destination that refuses something for good would hold everything up for ever, so there the log concerned is answered
with a refusal, never with a receipt, and the others go on: its producer keeps what it has and asks again with growing
pauses, and a person is told (`refusals`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

from meterfabric_protocol.delivery.answer import Answer
from meterfabric_protocol.delivery.sink import SinkCore
from meterfabric_protocol.delivery.stored import Held, LogUpdate, blank
from meterfabric_protocol.delivery.verdict import Incoming, Question, Verdict, original
from meterfabric_sink.destination.base import Destination, DestinationDown, DestinationRefused, PositionMoved
from meterfabric_sink.meters import Meters
from meterfabric_sink.refusals import Refusals

log = logging.getLogger(__name__)

_MOST_POSITIONS = 50_000
"""Positions remembered; about 1 KiB each."""
_PAUSES = (0.1, 5.0)
"""First and longest pause while the destination is away."""
_REFUSED_PAUSE = 0.1
"""Between two refusals with no commit between them: where everything is refused, few tries tell so."""
REFUSED = "destination"
"""The reason of an answer to what the destination refuses."""

Reply = Callable[[Incoming, bytes, bytes], None]


class Worker:
    """Judges, commits, answers."""

    def __init__(
        self,
        core: SinkCore,
        destination: Destination,
        reply: Reply,
        meters: Meters,
        *,
        group_bytes: int,
        group_batches: int,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """``reply(item, body, signature)`` sends an answer; ``group_bytes`` and ``group_batches`` bound one commit."""
        self._core = core
        self._destination = destination
        self._reply = reply
        self._meters = meters
        self._group_bytes = group_bytes
        self._group_batches = group_batches
        self._wall = wall
        self._inbox: deque[Incoming] = deque()
        self._arrived = asyncio.Event()
        self._view: dict[str, Held] = {}
        self._commit: asyncio.Task[bool] | None = None
        self._busy = False
        self.down: str | None = None
        """Why the destination can't be used now, None where it can."""
        self.refusals = Refusals(meters)
        self._refused_last = False

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return not self._inbox and not self._busy and (self._commit is None or self._commit.done())

    def take(self, item: Incoming) -> None:
        """A message from a relay."""
        self._inbox.append(item)
        self._arrived.set()

    async def run(self) -> None:
        """Work for ever; cancel to end (between groups, nothing is lost: what is unanswered is sent again)."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._inbox:
                self._busy = True
                try:
                    await self._quick(self._group())
                finally:
                    self._busy = False

    def _group(self) -> list[Incoming]:
        group: list[Incoming] = []
        size = 0
        while self._inbox and len(group) < self._group_batches:
            if group and size + len(self._inbox[0].payload or b"") > self._group_bytes:
                break
            item = self._inbox.popleft()
            size += len(item.payload or b"")
            group.append(item)
        return group

    # The quick way

    async def _quick(self, items: list[Incoming]) -> None:
        unknown = {item.origin for item in items} - self._view.keys()
        if unknown:
            await self._settle()
            await self._slow(items)
            return
        verdict = self._core.judge(items, self._view, frozenset(), int(self._wall()))
        if not await self._settle():
            await self._slow(items)
            return
        self._remember(verdict.updates)
        rest = [*verdict.reread, *(question.item for question in verdict.questions)]
        self._commit = asyncio.create_task(self._carry_out(verdict, items))
        # Where that commit fails, its items, these among them, went the slow way already.
        if rest and await self._settle():
            await self._slow(rest)

    async def _settle(self) -> bool:
        """Wait for the commit under way; whether the positions it promised stand."""
        if self._commit is None:
            return True
        task, self._commit = self._commit, None
        return await task

    async def _carry_out(self, verdict: Verdict, items: Sequence[Incoming]) -> bool:
        try:
            await self._write(verdict.updates)
        except (PositionMoved, DestinationDown, DestinationRefused) as error:
            log.info("commit did not happen", extra={"reason": str(error)})
            self._view.clear()
            await self._slow(items)
            return False
        self._answer(verdict.answers)
        return True

    # The slow way

    async def _slow(self, items: Sequence[Incoming]) -> None:
        """Nothing is under way: decide on what the store says now, until every item is answered."""
        pause = _PAUSES[0]
        wanted: set[str] = set()
        left = list(items)
        while left:
            try:
                wanted |= {item.origin for item in left}
                held = await self._held(wanted)
                verdict = self._core.judge(left, held, held.keys(), int(self._wall()))
                await self._write(verdict.updates)
                self._remember(verdict.updates)
                self._answer(verdict.answers)
                wanted |= verdict.missing
                left = verdict.reread
                for number, question in enumerate(verdict.questions):
                    try:
                        await self._resolve(question)
                    except (PositionMoved, DestinationDown, DestinationRefused):
                        left += [later.item for later in verdict.questions[number:]]
                        raise
            except PositionMoved:
                continue
            except DestinationRefused as error:
                self._view.clear()
                await self._refused(left, error)
                return
            except DestinationDown as error:
                if self.down is None:
                    log.warning("the destination is away", extra={"reason": str(error)})
                self.down = str(error)
                self._meters.down.inc()
                self._view.clear()
                await asyncio.sleep(pause)
                pause = min(pause * 2, _PAUSES[1])

    async def _refused(self, items: Sequence[Incoming], error: DestinationRefused) -> None:
        """The destination refuses for good what these want together: try them apart, so that only what must waits.

        First each log by itself; then, of one log, each message, since those before the one refused are fine.
        """
        parts: dict[object, list[Incoming]] = {}
        alone = len({item.origin for item in items}) == 1
        for number, item in enumerate(items):
            parts.setdefault(number if alone else item.origin, []).append(item)
        if len(parts) > 1:
            for part in parts.values():
                await self._slow(part)
            return
        (item,) = items
        self.refusals.add(item.origin, error)
        if not item.head or item.probe:
            self._answer([(item, self._core.turn_away(item, REFUSED, "its log and its /readyz say why"))])
        if self._refused_last:
            await asyncio.sleep(_REFUSED_PAUSE)
        self._refused_last = True

    async def _held(self, origins: set[str]) -> dict[str, Held]:
        known = await self._destination.positions(origins)
        held = {origin: known.get(origin) or blank(origin) for origin in origins}
        self._view.update(held)
        return held

    async def _resolve(self, question: Question) -> None:
        item = question.item
        wall = int(self._wall())
        if question.again:
            bodies = [notice.body for notice in await self._destination.notices(item.origin)]
            forked = original(bodies, question.checkpoint.first)
            stored = await self._destination.receipt(forked.origin, forked.size) if forked else None
            held = await self._held({item.origin} | ({forked.origin} if forked else set()))
            verdict = self._core.repeat(question, forked, stored, held, wall)
        else:
            stored = await self._destination.receipt(item.origin, question.checkpoint.size)
            held = await self._held({item.origin})
            verdict = self._core.resolve(question, stored, held[item.origin], wall)
        await self._write(verdict.updates)
        self._remember(verdict.updates)
        self._answer(verdict.answers)

    # Parts

    async def _write(self, updates: dict[str, LogUpdate]) -> None:
        if updates:
            began = time.perf_counter()
            await self._destination.commit(list(updates.values()))
            self._meters.committed(updates.values(), time.perf_counter() - began)
            self.refusals.over(update.origin for update in updates.values() if update.batches)
            self._refused_last = False
        if self.down is not None:
            log.info("the destination is back")
            self.down = None

    def _remember(self, updates: dict[str, LogUpdate]) -> None:
        for origin, update in updates.items():
            self._view[origin] = update.held
        if len(self._view) > _MOST_POSITIONS:
            self._view.clear()

    def _answer(self, answers: Sequence[tuple[Incoming, Answer]]) -> None:
        for item, answer in answers:
            self._meters.answered(answer)
            with contextlib.suppress(KeyError):
                self._reply(item, *self._core.sign(answer))
