"""A sidecar's store and intake in a folder, and a reader that believes nothing of it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from meterfabric_protocol import batch as batches
from meterfabric_protocol import notice
from meterfabric_protocol.merkle import CompactRange, leaf_hashes
from meterfabric_protocol.record import Split, split_lines
from meterfabric_sidecar.dedup import Dedup
from meterfabric_sidecar.intake import Intake, IntakeSettings
from meterfabric_sidecar.keys import KeyFolder
from meterfabric_sidecar.producer_log import ProducerLog, origin_maker
from meterfabric_sidecar.spool import Spool, SpoolSettings, StoredBatch
from meterfabric_sidecar.spool.load import decompress

MAKE_ORIGIN = origin_maker("metering.main", "shop", "web-0")


class Clock:
    """Monotonic seconds that a test moves."""

    def __init__(self, reading: float = 1000.0) -> None:
        self.reading = reading

    def __call__(self) -> float:
        return self.reading


def record(number: int, text: str = "", source: str = "/meter") -> bytes:
    return b'{"specversion":"1.0","id":"%d","source":"%s","type":"usage","data":{"text":"%s"}}' % (
        number,
        source.encode(),
        text.encode(),
    )


def records(numbers: Iterable[int], text: str = "") -> Split:
    return split_lines(b"\n".join(record(number, text) for number in numbers))


@dataclass
class Rig:
    spool: Spool
    log: ProducerLog
    dedup: Dedup
    intake: Intake
    keys: KeyFolder
    sealed: list[StoredBatch] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return self.log.origin

    async def fill(self, batch_count: int, each: int = 10, start: int = 0, text: str = "") -> list[StoredBatch]:
        """Seal batches of fresh records, one after another."""
        done = len(self.sealed)
        for batch in range(batch_count):
            await self.intake.accept(records(range(start + batch * each, start + (batch + 1) * each), text))
        return self.sealed[done:]

    async def everything(self, origin: str | None = None) -> list[StoredBatch]:
        return await everything(self.spool, origin or self.origin)


@asynccontextmanager
async def opened(
    folder: Path,
    *,
    quota: int = 64 << 20,
    settings: SpoolSettings | None = None,
    intake: IntakeSettings | None = None,
    compression: Literal["none", "zstd"] = "none",
    monotonic: Callable[[], float] | None = None,
    dedup_records: int = 100_000,
    close: bool = False,
) -> AsyncIterator[Rig]:
    """All of it, running. `close` ends the log in good order, else it is as after a crash."""
    settings = settings or SpoolSettings(quota=quota)
    clock = {} if monotonic is None else {"monotonic": monotonic}
    spool = await Spool.open(folder / "spool", settings, **clock)
    try:
        keys = KeyFolder(folder / "key")
        log = ProducerLog(spool, keys, MAKE_ORIGIN, compression)
        dedup = Dedup(spool, dedup_records, 600.0)
        await dedup.load()
        rig = Rig(spool, log, dedup, Intake(log, dedup, intake), keys)
        rig.intake.on_sealed = log.on_sealed = rig.sealed.append
        await log.open()
        yield rig
        if close:
            await rig.intake.close()
    finally:
        await spool.close()


async def everything(spool: Spool, origin: str) -> list[StoredBatch]:
    """All batches of a log that are delivered, in order, in small helpings."""
    found: list[StoredBatch] = []
    log = await spool.log(origin)
    size = log.size if log.superseded_at is None else log.superseded_at
    first = 0
    while first < size:
        some = await spool.fetch(origin, first, 100_000, 3)
        assert some, f"nothing can be had of {origin} from {first} of {size}"
        found += some
        first = some[-1].size
    return found


def leaves_of(batch: StoredBatch) -> list[bytes]:
    header = batches.decode_header(batch.header)
    if batch.payload is None:
        return []
    return batches.split(batches.unpack(batch.payload, header, decompress), header)


def verified(stored: Sequence[StoredBatch], public_key: bytes) -> list[bytes]:
    """The leaves of a whole log, each batch judged as a sink would. Stubs have none."""
    frontier = CompactRange.empty()
    leaves: list[bytes] = []
    for batch in stored:
        header = batches.decode_header(batch.header)
        found = leaves_of(batch)
        frontier = batches.verify(header, leaf_hashes(found), frontier, public_key)
        assert frontier.size == batch.size
        leaves += found
    return leaves


async def leaves_in(spool: Spool) -> dict[str, list[bytes]]:
    """Every log of a spool, verified: origin → leaves."""
    return {log.origin: verified(await everything(spool, log.origin), log.public_key) for log in await spool.logs()}


def only_records(leaves: Iterable[bytes]) -> list[bytes]:
    return [leaf for leaf in leaves if not notice.is_notice(leaf)]


def only_notices(leaves: Iterable[bytes]) -> list[notice.Notice]:
    return [notice.decode(leaf) for leaf in leaves if notice.is_notice(leaf)]


async def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for a condition. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.005)
