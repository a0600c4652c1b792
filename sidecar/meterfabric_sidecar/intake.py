"""Group commit: many submissions, one batch, one signature, one fsync.

Submissions gather while the batch before is on its way to the disk. A batch closes at `max_records` or `max_bytes`, or
when the disk is free; with the disk free and several senders about, it waits up to `max_delay` for as many of them as
came last time. While one batch is being fsynced in the spool's thread the next is hashed here, so a backlog makes
batches larger and never makes them wait twice.

A submission is one request's records: all of them are in one batch, or none is kept. Whoever submitted is answered
after the fsync and after the key's head was moved.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeAlias

from meterfabric_protocol import batch as batches
from meterfabric_protocol import notice
from meterfabric_protocol.limits import DEFAULT, Limits
from meterfabric_protocol.merkle import leaf_hashes
from meterfabric_protocol.notice import Closed, Damaged, Notice
from meterfabric_protocol.record import Split

from .dedup import Dedup
from .flight import Flight, Notices, refuse
from .gathering import Gathering, IntakeSettings, Submission
from .ingest.intake import Full, TooLarge, Unavailable
from .producer_log import ProducerLog
from .spool import SpoolFull, StoredBatch
from .spool.writer import Also

__all__ = ["Intake", "IntakeSettings"]

OnSealed: TypeAlias = Callable[[StoredBatch], None]

_LOG: Final = logging.getLogger(__name__)
_RETRY: Final = 1.0
_BATCH_SHARE: Final = 8192
"""A log has at most one batch for so many bytes of quota: what stays of them takes a tenth of it then."""


class Intake:
    """Takes records and notices into the active log. See the module.

    `on_sealed` is called in the event loop with every batch, in order, once it is durable.
    """

    def __init__(
        self,
        log: ProducerLog,
        dedup: Dedup,
        settings: IntakeSettings | None = None,
        limits: Limits = DEFAULT,
        on_sealed: OnSealed = lambda batch: None,
    ) -> None:
        self.on_sealed = on_sealed
        self.on_committed: Callable[[float], object] = lambda seconds: None
        """Called with the seconds that each commit took, fsync included."""
        self._packer = ThreadPoolExecutor(1, "packer")
        self._log = log
        self._spool = log.spool
        self._dedup = dedup
        self._settings = settings or IntakeSettings()
        self._most_batches = min(self._settings.log_batches, self._spool.pressure().quota // _BATCH_SHARE)
        self._turning: asyncio.Task[None] | None = None
        self._limits = limits
        self._gathering = Gathering(self._settings)
        self._notices: deque[Notices] = deque()
        self._ready: Flight | None = None
        self._flying: Flight | None = None
        self._task: asyncio.Task[None] | None = None
        """What flies, or mends after a flight that failed."""
        self._mending = False
        self._kicked = False
        self._lingering: asyncio.TimerHandle | None = None
        self._paused = 0
        self._stopped: str | None = None
        self._turn = asyncio.Event()
        self.waiting_bytes = 0
        """Bytes of records taken and not yet durable."""

    # -- what others call

    async def accept(self, split: Split) -> None:
        """Return once every record is durable or known as a repeat.

        Raises Full, Unavailable, Conflict, TooLarge; then nothing of `split` is kept.
        """
        if not split.keys:
            return
        size = len(split.payload)
        self._check(len(split.keys), size)
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gathering.add(Submission(split, answer))
        self.waiting_bytes += size
        self._kick_soon()
        await answer

    async def seal_notices(self, notices: Sequence[Notice]) -> StoredBatch:
        """Seal notices into a batch of their own in the active log; return it once it is durable.

        Taken also when records are refused: a reserve of the quota is kept for them. Raises Full (the disk doesn't take
        them now), Unavailable (the log has ended).
        """
        return await self._seal_notices(notices)

    async def fork(self, origin: str, common: int, heard: int = 0) -> None:
        """Have a new log repeat `origin` past `common` (see ProducerLog.fork); what comes in meanwhile waits.

        Returns once that is done, however long the disk takes.
        """
        await self._between_batches(partial(self._log.fork, origin, common, heard))

    async def close(self) -> StoredBatch | None:
        """Take nothing more, finish what was taken and end the log with its `closed` notice.

        Returns the last batch, for the shipper to deliver before the process ends; None where the disk doesn't take it
        (the next start then goes on with the same log). Nothing can be sealed afterwards.
        """
        self._stopped = "the sidecar is stopping"
        await self._until(
            lambda: self._mending or not (self._gathering or self._notices or self._ready or self._flying)
        )
        try:
            row = await self._spool.log(self._log.origin)
            return await self._seal_notices([Closed(log=row.origin, records=row.records)], last=True)
        except Full:
            return None
        finally:
            self._stopped = "the log has ended"
            self._packer.shutdown(wait=False)

    # -- gathering

    def _check(self, records: int, size: int) -> None:
        if self._stopped is not None:
            raise Unavailable(_RETRY, self._stopped)
        if records > self._limits.batch_records:
            raise TooLarge("more records than one batch may hold", self._limits.batch_records, records)
        if size > self._limits.batch_bytes:
            raise TooLarge("more bytes than one batch may hold", self._limits.batch_bytes, size)
        if self._mending or self._spool.failure is not None:
            raise Full(_RETRY, f"the spool's disk takes nothing: {self._spool.failure}")
        if self.waiting_bytes and self.waiting_bytes + size > self._settings.waiting_bytes:
            raise Full(_RETRY, "more comes in than the disk takes")
        if not self._spool.room_for(self.waiting_bytes + size):
            raise Full(_RETRY)

    async def _seal_notices(self, notices: Iterable[Notice], *, last: bool = False) -> StoredBatch:
        if self._stopped is not None and self._stopped == "the log has ended":
            raise Unavailable(_RETRY, self._stopped)
        if self._mending:
            raise Full(_RETRY, f"the spool's disk takes nothing: {self._spool.failure}")
        leaves = [notice.encode(each) for each in notices]
        damage = [(each.log, *span) for each in notices if isinstance(each, Damaged) for span in each.ranges]
        waiting = Notices(leaves, damage, last, asyncio.get_running_loop().create_future())
        self._notices.append(waiting)
        self._kick_soon()
        return await waiting.answer

    def _kick_soon(self) -> None:
        # Once per turn of the loop, so that all that came in this turn goes together.
        if not self._kicked:
            self._kicked = True
            asyncio.get_running_loop().call_soon(self._kick)

    def _kick(self) -> None:
        self._kicked = False
        if self._mending:
            return
        if self._ready is None and not self._paused and self._closes():
            self._ready = self._prepare()
        if self._flying is None and self._ready is not None:
            self._flying, self._ready = self._ready, None
            self._task = asyncio.get_running_loop().create_task(self._fly(self._flying))
            if self._gathering or self._notices:
                self._kick_soon()
        self._turn.set()

    def _closes(self) -> bool:
        """Whether the gathering batch should be sealed now."""
        if self._gathering.full:
            return True
        if self._flying is not None or not (self._gathering or self._notices):
            return False
        if self._notices or self._gathering.complete:
            return True
        if self._lingering is None:
            self._lingering = asyncio.get_running_loop().call_later(self._settings.max_delay, self._alone)
        return False

    def _alone(self) -> None:
        self._lingering = None
        self._gathering.company = 1
        self._kick()

    # -- one batch

    def _prepare(self) -> Flight:
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        sealer, now = self._log.sealer, self._spool.clock.now()
        # Notices go first: somebody waits for them to let go of records. Only the last one lets all else pass.
        if self._notices and not (self._notices[0].last and self._gathering):
            waiting = self._notices.popleft()
            payload, hashes = batches.join(waiting.leaves), leaf_hashes(waiting.leaves)
            return Flight(sealer.seal("notices", payload, hashes, now), notices=waiting)
        taken = self._gathering.take()
        size = sum(submission.bytes for submission in taken)
        admitted = self._dedup.admit(taken, now)
        group = admitted.group
        if group is None:
            return Flight(None, admitted, bytes=size)
        sealed = sealer.seal("records", group.payload, group.hashes, now, group.seq, group.keys)
        flight = Flight(sealed, admitted, bytes=size)
        if sealer.packs(sealed):
            flight.packing = asyncio.get_running_loop().run_in_executor(self._packer, sealer.pack, sealed)
        return flight

    async def _fly(self, flight: Flight) -> None:
        try:
            if flight.packing is not None:
                flight.sealed = await flight.packing
            sealed = flight.sealed
            if sealed is not None:
                also = self._also(flight.notices) if flight.notices else None
                began = time.perf_counter()
                await self._spool.commit(sealed.row, partial(self._log.write_head, sealed), also)
                self.on_committed(time.perf_counter() - began)
        except SpoolFull as full:
            await self._fail(flight, full)
        except Exception as error:
            # Not the disk's doing; all the same nobody may wait for ever, and memory may not run ahead of the spool.
            _LOG.exception("a batch could not be stored")
            await self._fail(flight, SpoolFull(str(error), _RETRY))
        else:
            self._land(flight)

    def _also(self, notices: Notices) -> Also | None:
        return self._spool.closing(self._log.origin) if notices.last else self._spool.telling(notices.damage)

    def _land(self, flight: Flight) -> None:
        self._flying = None
        self.waiting_bytes -= flight.bytes
        sealed = flight.sealed
        if flight.admitted is not None and sealed is not None and flight.admitted.group is not None:
            self._dedup.landed(flight.admitted.group, sealed.row.keys_bytes)
            self._spool.forget_recent(self._dedup.first_seq)
        flight.answer()
        if sealed is not None:
            self._tell(sealed.batch)
            if self._log.sealer.batches >= self._most_batches and self._turning is None and self._stopped is None:
                self._turning = asyncio.get_running_loop().create_task(self._turn_over())
        self._kick()

    def _tell(self, batch: StoredBatch) -> None:
        try:
            self.on_sealed(batch)
        except Exception:
            # Whatever is wrong with delivery, taking records goes on.
            _LOG.exception("a sealed batch was not taken over for delivery")

    async def _turn_over(self) -> None:
        """Go on in a new log: what stays of every batch for a log's life would fill the spool one day."""
        _LOG.info("the log %s is long enough, a new one continues it", self._log.origin)
        try:
            await self._between_batches(self._log.turn_over)
        finally:
            self._turning = None

    async def _between_batches(self, act: Callable[[], Awaitable[None]]) -> None:
        """Change the log while nothing is sealed; what comes in meanwhile waits. Ends however long the disk takes."""
        self._paused += 1
        try:
            await self._until(lambda: self._flying is None and self._ready is None)
            while True:
                try:
                    await act()
                    break
                except (SpoolFull, OSError):
                    _LOG.exception("the log %s can't be ended yet", self._log.origin)
                    await asyncio.sleep(_RETRY)
                    # What was stored decides how to go on.
                    act = self._log.open
        finally:
            self._paused -= 1
            self._kick_soon()

    # -- when the disk doesn't take it

    async def _fail(self, flight: Flight, full: SpoolFull) -> None:
        """Refuse all that waits, then read back what the disk holds: a failed commit may have come through all the
        same."""
        _LOG.error("records are refused: %s", full.reason)
        self._mending = True
        waiting: list[Submission | Notices] = [*flight.waiting, *(self._ready.waiting if self._ready else [])]
        waiting += [*self._gathering.clear(), *self._notices]
        self._ready = None
        self._notices.clear()
        self.waiting_bytes = 0
        for each in waiting:
            refuse(each, Full(full.retry_after, full.reason))
        self._turn.set()
        while True:
            try:
                await self._spool.flush()
                self._log.sealer.go_back((await self._spool.log(self._log.origin)).frontier)
                await self._dedup.load()
                break
            except (SpoolFull, OSError) as error:
                await asyncio.sleep(getattr(error, "retry_after", _RETRY))
        _LOG.info("records are taken again")
        self._mending = False
        self._flying = None
        self._kick()

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            self._turn.clear()
            await self._turn.wait()
