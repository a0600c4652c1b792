"""The pod's log across keys and restarts: opening, superseding, closing.

Between these, `Intake` seals batches through the `Sealer` this hands out.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_protocol import batch as batches
from meterfabric_protocol import names, notice
from meterfabric_protocol.merkle import EMPTY_ROOT, CompactRange, leaf_hashes

from .fork import fillers, named, plan, repeatable
from .keys import Head, KeyFolder
from .opening import Begin, Ended, GoOn, decide
from .sealer import Sealed, Sealer
from .spool import LogRow, Spool, StoredBatch
from .spool.clock import utc_now
from .spool.writer import Also, Sealing

Kind: TypeAlias = Literal["records", "notices"]
MakeOrigin: TypeAlias = Callable[[bytes], str]
"""A log's origin for a raw public key of 32 bytes."""

_NOTHING: Final = CompactRange.empty()


def origin_maker(fabric: str, namespace: str, pod: str) -> MakeOrigin:
    """How this pod names its logs."""
    return lambda public_key: names.origin(fabric, namespace, pod, public_key)


class ProducerLog:
    """The log that grows now. `sealer` seals at its end, `key` signs for it and for the session."""

    def __init__(
        self, spool: Spool, keys: KeyFolder, make_origin: MakeOrigin, compression: Literal["none", "zstd"] = "none"
    ) -> None:
        self.spool = spool
        self._keys = keys
        self._make_origin = make_origin
        self._compression: Literal["none", "zstd"] = compression
        self._sealer: Sealer | None = None
        self._key: Ed25519PrivateKey | None = None
        self._forking = asyncio.Lock()
        self._heard: dict[str, int] = {}
        """How far sinks are known to hold logs that were ended."""
        self.on_sealed: Callable[[StoredBatch], None] = lambda batch: None
        """Called with every batch that is sealed here, not by the intake."""

    @property
    def sealer(self) -> Sealer:
        """Seals at the end of the active log. Raises RuntimeError before `open`."""
        if self._sealer is None:
            raise RuntimeError("the log isn't open")
        return self._sealer

    @property
    def key(self) -> Ed25519PrivateKey:
        """The active log's key. Raises RuntimeError before `open`."""
        if self._key is None:
            raise RuntimeError("the log isn't open")
        return self._key

    @property
    def origin(self) -> str:
        """The active log's origin."""
        return self.sealer.origin

    async def open(self) -> None:
        """Go on with the log of before, or begin one. Raises SpoolFull, OSError; may be called again then."""
        held, head = self._keys.load(), self._keys.head()
        logs = await self.spool.logs()
        known = head is not None and head.size and head.origin in {log.origin for log in logs}
        root = await self.spool.root_at(head.origin, head.size) if head is not None and known else None
        broken = {log.origin: log.broken_at for log in logs if log.broken_at is not None}
        decision = decide(held, head, logs, root)
        if isinstance(decision, GoOn):
            log, key = decision.log, decision.held.key
            self._adopt(key, Sealer(log.id, log.origin, key, log.frontier, utc_now, self._compression, log.batches))
            self._keys.write_head(Head(log.origin, log.size, log.frontier.root() if log.size else EMPTY_ROOT))
        elif decision.previous not in broken:
            await self.begin(decision)
        await self.repeat()

    async def repeat(self) -> None:
        """Carry on where a log is broken: see `fork`. Raises SpoolFull, OSError; may be called again then."""
        for log in await self.spool.logs():
            if log.broken_at is not None:
                if log.superseded_at is None or log.broken_at < log.superseded_at:
                    # What an earlier fork repeated is not repeated again.
                    end = log.size if log.superseded_at is None else log.superseded_at
                    await self._fork(log, log.broken_at, log.broken_at, end)
                elif await named(self.spool, log) is None:
                    # The log that was begun for it is gone, or what it said first: another one says it anew.
                    await self._fork(log, log.superseded_at, log.broken_at, log.size)
                await self._repeat(log.origin)

    async def fork(self, origin: str, common: int, heard: int = 0) -> None:
        """End the log `origin` at the boundary `common`, and repeat what lies past it in a new log that continues it.

        For a log that a sink knows otherwise past `common` (it holds `heard` leaves of it); where batches were lost
        with a damaged database, salvage asks for the same. A log that was ended before may be ended earlier still:
        another sink knows less of it. The log that grows now is closed first where it is another one. Raises SpoolFull,
        OSError; once it is marked in the spool, `repeat` or the next `open` finishes it.
        """
        async with self._forking:
            # An end that is not finished yet must not be overtaken by an earlier one.
            await self.repeat()
            row = await self.spool.log(origin)
            self._heard[origin] = max(heard, self._heard.get(origin, 0))
            if row.superseded_at is None or common < row.superseded_at:
                await self.spool.mark(self.spool.moving_on(origin, common))
            await self.repeat()

    async def close(self) -> Sealed:
        """End the active log with its `closed` notice. Raises SpoolFull, OSError."""
        row = await self.spool.log(self.origin)
        self.sealer.go_back(row.frontier)
        leaf = notice.encode(notice.Closed(log=row.origin, records=row.records))
        return await self._commit("notices", [leaf], self.spool.closing(row.origin))

    async def turn_over(self) -> None:
        """End the active log and go on in a new one. Raises SpoolFull, OSError; then `open` finishes it."""
        await self.close()
        await self.open()

    async def _fork(self, row: LogRow, common: int, past: int, end: int) -> None:
        """Begin a log that says of `row` that it ended at `common`, and what of it from `past` to `end` it repeats."""
        growing = {log.origin for log in await self.spool.logs() if log.state == "active"}
        ended = None
        if self._sealer is not None and self._sealer.origin in growing - {row.origin}:
            await self.close()
            # It may never have got a certificate: then it is taken on the new log's word alone.
            ended = Ended(self.sealer.origin, self.sealer.frontier.size, self.sealer.frontier.root(), "restart")
        again = await plan(self.spool, row, past, end, besides=0 if ended is None else 1)
        root = await self.spool.root_at(row.origin, common) if common else EMPTY_ROOT
        if root is None:
            raise ValueError(f"{common} is no boundary of the log {row.origin}")
        heard = max(row.size, self._heard.get(row.origin, 0))
        await self.begin(Begin(row.origin, common, root, heard, "forked", again, ended), (row.origin, common, past))

    async def _repeat(self, origin: str) -> None:
        """Append to the active log what is left to repeat of `origin`: what the log that was begun for it names."""
        row = await self.spool.log(origin)
        namer, names = await named(self.spool, row) or ("", frozenset())
        first = row.broken_at
        while first is not None and (found := await self.spool.batches(origin, first, 1)):
            batch = found[0]
            leaves = None
            if batch.first in names and namer == self.origin:
                leaves = await self.spool.leaves(origin, batch.first) or fillers(origin, batch)
            elif batch.first in names:
                # That log's key was lost meanwhile: no place for it is promised any more.
                leaves = await repeatable(self.spool, row, batch)
            first = batch.size if batch.size < row.size else None
            moved = self.spool.moving_on(origin, first)
            if leaves is None:
                await self.spool.mark(moved)
            else:
                kind: Kind = "notices" if notice.is_notice(leaves[0]) else "records"
                await self._commit(kind, leaves, moved)
        if first is not None:
            await self.spool.mark(self.spool.moving_on(origin, None))

    async def _commit(self, kind: Kind, leaves: list[bytes], also: Also) -> Sealed:
        sealer = self.sealer
        before = sealer.frontier
        sealed = sealer.pack(sealer.seal(kind, batches.join(leaves), leaf_hashes(leaves), self.spool.clock.now()))
        try:
            await self.spool.commit(sealed.row, lambda: self.write_head(sealed), also)
        except BaseException:
            sealer.go_back(before)
            raise
        self.on_sealed(sealed.batch)
        return sealed

    async def begin(self, begin: Begin, superseded: tuple[str, int, int] | None = None) -> Sealed:
        """Throw the key away and begin a new log, durably; `superseded` is what it repeats, where that ended, and from
        which leaf on there is something left to repeat.

        Raises SpoolFull, OSError.
        """
        # Nothing is kept of the new key until its log is in the spool, so that a crash in between leaves the old key's
        # rules in force: an unused key has no head to be behind.
        key = self._keys.make()
        public_key = key.public_key().public_bytes_raw()
        origin = self._make_origin(public_key)
        leaves = [notice.encode(each) for each in begin.notices(origin)]
        sealed: list[tuple[Sealer, Sealed]] = []

        def first(log: int) -> Sealing:
            sealer = Sealer(log, origin, key, _NOTHING, utc_now, self._compression)
            sealed.append((sealer, sealer.seal("notices", batches.join(leaves), leaf_hashes(leaves), now)))
            return sealed[-1][1].row

        now = self.spool.clock.now()
        self._keys.write_head(Head(origin, 0, EMPTY_ROOT))
        await self.spool.open_log(origin, public_key, EMPTY_ROOT, first, superseded)
        sealer, opening = sealed[-1]
        self._adopt(key, sealer)
        self.write_head(opening)
        self.on_sealed(opening.batch)
        return opening

    def _adopt(self, key: Ed25519PrivateKey, sealer: Sealer) -> None:
        self._key, self._sealer = key, sealer

    def write_head(self, sealed: Sealed) -> None:
        """Note beside the key that it signed this batch; from any thread. Raises OSError."""
        self._keys.write_head(Head(sealed.batch.origin, sealed.after.size, sealed.root))
