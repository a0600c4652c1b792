"""Group commit: many submissions, one batch, one signature, one fsync.

Submissions gather while the batch before is on its way to the disk. A batch closes at `max_records` or `max_bytes`, or
when the disk is free; with the disk free and several senders about, it waits up to `max_delay` for as many of them as
came last time. While one batch is being fsynced in the spool's thread the next is hashed here, so a backlog makes
batches larger and never makes them wait twice.

A submission is one request's records: all of them are in one batch, or none is kept. Whoever submitted is answered
after the fsync and after the key's head was moved.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from meterfabric_protocol import notice
from meterfabric_protocol.limits import DEFAULT, Limits
from meterfabric_protocol.merkle import leaf_hashes
from meterfabric_protocol.notice import Closed, Notice
from meterfabric_protocol.record import Split

from .dedup import Admitted, Dedup
from .ingest.intake import Conflict, Full, TooLarge, Unavailable
from .producer_log import ProducerLog
from .sealer import Sealed
from .spool import SpoolFull
from .spool.rows import StoredBatch

OnSealed = Callable[[StoredBatch], None]

_BUSY_RETRY: Final = 1.0


@dataclass(frozen=True, slots=True)
class IntakeSettings:
    """When a batch closes, and how much may wait. Bytes are payload bytes, delays seconds."""

    max_records: int = 4096
    max_bytes: int = 1 << 20
    max_delay: float = 0.002
    """Longest wait for company when the disk is free and several senders are about."""
    waiting_bytes: int = 32 << 20
    """Records accepted and not yet durable; beyond it submissions are refused."""


@dataclass(slots=True)
class Submission:
    """Records that stand or fall together, and who waits for them."""

    records: Sequence[bytes]
    keys: Sequence[str]
    hashes: list[bytes]
    bytes: int
    answer: asyncio.Future[None]


@dataclass(slots=True)
class _Notices:
    leaves: list[bytes]
    answer: asyncio.Future[StoredBatch]
    last: bool = False


@dataclass(slots=True)
class _Flight:
    """A batch on its way, and who waits for it. `sealed` is None where all records were repeats."""

    sealed: Sealed | None
    admitted: Admitted[Submission] | None = None
    notices: _Notices | None = None
    bytes: int = 0

    @property
    def submissions(self) -> list[Submission]:
        """All that came with it, also those that clashed."""
        return [*self.admitted.taken, *(s for s, _ in self.admitted.clashes)] if self.admitted else []


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
        self._log = log
        self._spool = log.spool
        self._dedup = dedup
        self._settings = settings or IntakeSettings()
        self._limits = limits
        self._gathering: deque[Submission] = deque()
        self._gathered_records = 0
        self._gathered_bytes = 0
        self._notices: deque[_Notices] = deque()
        self._ready: _Flight | None = None
        self._flying: _Flight | None = None
        self._waiting_bytes = 0
        self._kicked = False
        self._lingering: asyncio.TimerHandle | None = None
        self._last_company = 1
        self._mending: asyncio.Task[None] | None = None
        self._stopped: str | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # -- what others call

    async def accept(self, split: Split) -> None:
        """Return once every record is durable or known as a repeat.

        Raises Full, Unavailable, Conflict, TooLarge; then nothing of `split` is kept.
        """
        records = split.records
        if not records:
            return
        size = sum(map(len, records)) + len(records)
        self._check(len(records), size)
        answer = asyncio.get_running_loop().create_future()
        # Hashed at once: it runs while the batch before is being fsynced.
        self._gathering.append(Submission(records, split.keys, leaf_hashes(records), size, answer))
        self._gathered_records += len(records)
        self._gathered_bytes += size
        self._waiting_bytes += size
        self._kick_soon()
        await answer

    async def seal_notices(self, notices: Sequence[Notice]) -> StoredBatch:
        """Seal notices into a batch of their own in the active log; return it once it is durable.

        Taken also when records are refused: a reserve of the quota is kept for them. Raises Unavailable, Full.
        """
        return await self._seal_notices([notice.encode(n) for n in notices])

    async def close(self) -> StoredBatch | None:
        """Take nothing more, finish what was taken and end the log with its `closed` notice.

        Returns the last batch, for the shipper to deliver before the process ends; None where the disk doesn't take it
        (the next start then goes on with the same log). Nothing else may be sealed afterwards.
        """
        if self._stopped is None:
            self._stopped = "the sidecar is stopping"
        await self._settle()
        row = await self._spool.log(self._log.origin)
        closing = Closed(log=row.origin, records=row.records)
        try:
            return await self._seal_notices([notice.encode(closing)], last=True)
        except (Full, Unavailable):
            return None

    @property
    def waiting_bytes(self) -> int:
        """Bytes of records taken and not yet durable."""
        return self._waiting_bytes

    # -- gathering

    def _check(self, records: int, size: int) -> None:
        if self._stopped is not None:
            raise Unavailable(_BUSY_RETRY, self._stopped)
        if records > self._limits.batch_records:
            raise TooLarge("more records than one batch may hold", self._limits.batch_records, records)
        if size > self._limits.batch_bytes:
            raise TooLarge("more bytes than one batch may hold", self._limits.batch_bytes, size)
        if self._spool.failed is not None:
            raise Unavailable(_BUSY_RETRY, f"the spool's disk fails: {self._spool.failed}")
        if self._waiting_bytes and self._waiting_bytes + size > self._settings.waiting_bytes:
            raise Full(_BUSY_RETRY, "the disk is slower than what comes in")
        if not self._spool.room_for(self._waiting_bytes + size):
            raise Full(_BUSY_RETRY)

    async def _seal_notices(self, leaves: list[bytes], *, last: bool = False) -> StoredBatch:
        waiting = _Notices(leaves, asyncio.get_running_loop().create_future(), last)
        self._notices.append(waiting)
        self._kick_soon()
        return await waiting.answer

    async def _settle(self) -> None:
        while waiting := [s.answer for s in self._gathering] + [
            s.answer for flight in (self._ready, self._flying) if flight for s in flight.submissions
        ]:
            await asyncio.wait(waiting)

    def _kick_soon(self) -> None:
        # Once per turn of the loop, so that all that came in this turn goes together.
        if not self._kicked:
            self._kicked = True
            asyncio.get_running_loop().call_soon(self._kick)

    def _linger_over(self) -> None:
        self._lingering = None
        self._last_company = 1
        self._kick()

    def _kick(self) -> None:
        self._kicked = False
        if self._mending is not None:
            return
        if self._ready is None and self._closes():
            self._ready = self._prepare()
        if self._flying is None and self._ready is not None:
            self._flying, self._ready = self._ready, None
            task = asyncio.get_running_loop().create_task(self._fly(self._flying))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            if self._gathering or self._notices:
                self._kick_soon()

    def _closes(self) -> bool:
        """Whether the gathering batch should be sealed now."""
        settings = self._settings
        if not (self._gathering or self._notices):
            return False
        if self._gathered_records >= settings.max_records or self._gathered_bytes >= settings.max_bytes:
            return True
        if self._flying is not None:
            return False
        if self._notices or len(self._gathering) >= self._last_company:
            return True
        if self._lingering is None:
            self._lingering = asyncio.get_running_loop().call_later(settings.max_delay, self._linger_over)
        return False

    # -- one batch

    def _prepare(self) -> _Flight:
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        sealer, now = self._log.sealer, self._spool.clock.now()
        # Notices that close a log come after all records, others before.
        if self._notices and not (self._notices[0].last and self._gathering):
            waiting = self._notices.popleft()
            sealed = sealer.seal("notices", waiting.leaves, leaf_hashes(waiting.leaves), now)
            return _Flight(sealed, notices=waiting)
        taken, size = self._take()
        self._last_company = len(taken)
        admitted = self._dedup.admit(taken, now)
        group = admitted.group
        if group is None:
            return _Flight(None, admitted, bytes=size)
        return _Flight(
            sealer.seal("records", group.records, group.hashes, now, group.seq, group.keys), admitted, bytes=size
        )

    def _take(self) -> tuple[list[Submission], int]:
        settings, gathering = self._settings, self._gathering
        taken = [gathering.popleft()]
        records, size = len(taken[0].records), taken[0].bytes
        while gathering:
            following = gathering[0]
            if records + len(following.records) > settings.max_records or size + following.bytes > settings.max_bytes:
                break
            taken.append(gathering.popleft())
            records += len(following.records)
            size += following.bytes
        self._gathered_records -= records
        self._gathered_bytes -= size
        return taken, size

    async def _fly(self, flight: _Flight) -> None:
        sealed = flight.sealed
        try:
            if sealed is not None:
                last = flight.notices is not None and flight.notices.last
                await self._spool.commit(sealed.row, lambda: self._log.write_head(sealed), last=last)
        except SpoolFull as full:
            self._fail(flight, full)
            return
        self._land(flight)

    def _land(self, flight: _Flight) -> None:
        self._flying = None
        self._waiting_bytes -= flight.bytes
        if flight.admitted is not None:
            self._answer(flight.admitted)
        if flight.sealed is not None:
            if flight.notices is not None and not flight.notices.answer.done():
                flight.notices.answer.set_result(flight.sealed.batch)
            self.on_sealed(flight.sealed.batch)
        self._kick()

    def _answer(self, admitted: Admitted[Submission]) -> None:
        if admitted.group is not None:
            self._dedup.landed(admitted.group)
            self._spool.forget_recent(self._dedup.first_seq)
        for submission in admitted.taken:
            if not submission.answer.done():
                submission.answer.set_result(None)
        # Not before: what they clash with may have been in a batch that was still on its way.
        for submission, index in admitted.clashes:
            if not submission.answer.done():
                source, _, id_ = submission.keys[index].partition("\x1f")
                submission.answer.set_exception(Conflict(index, source, id_))

    # -- when the disk doesn't take it

    def _fail(self, flight: _Flight, full: SpoolFull) -> None:
        error = Full(full.retry_after, full.reason)
        flights = [flight] if self._ready is None else [flight, self._ready]
        self._ready = None
        for failed in flights:
            self._waiting_bytes -= failed.bytes
            self._refuse(failed.submissions, failed.notices, error)
        self._waiting_bytes -= self._gathered_bytes
        self._refuse(self._gathering, None, error)
        for waiting in self._notices:
            self._refuse((), waiting, error)
        self._gathering.clear()
        self._notices.clear()
        self._gathered_records = self._gathered_bytes = 0
        self._mending = asyncio.get_running_loop().create_task(self._mend())

    def _refuse(
        self, submissions: Sequence[Submission] | deque[Submission], notices: _Notices | None, why: Full
    ) -> None:
        for submission in submissions:
            if not submission.answer.done():
                submission.answer.set_exception(Full(why.retry_after, why.detail))
        if notices is not None and not notices.answer.done():
            notices.answer.set_exception(Full(why.retry_after, why.detail))

    async def _mend(self) -> None:
        """Read back what the disk holds, for a failed commit may have come through after all."""
        while True:
            try:
                await self._spool.flush()
                row = await self._spool.log(self._log.origin)
                await self._dedup.load()
                break
            except SpoolFull as full:
                await asyncio.sleep(full.retry_after)
        self._log.sealer.go_back(row.frontier)
        self._flying = None
        self._mending = None
        self._kick()
