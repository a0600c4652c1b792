"""The worker on a real destination: positions that moved, a store that is away, and what waits meanwhile."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_protocol import batch
from meterfabric_protocol.delivery import answer as answers
from meterfabric_protocol.delivery.sink import SinkCore, SinkSettings
from meterfabric_protocol.delivery.stored import LogUpdate
from meterfabric_protocol.delivery.verdict import Incoming
from meterfabric_protocol.identity import ChainVerifier, TrustBundle
from meterfabric_protocol.merkle import CompactRange, leaf_hashes
from meterfabric_protocol.names import Producer, Sink, origin
from meterfabric_runtime.authority import LocalAuthority
from meterfabric_runtime.csr import make_csr
from meterfabric_sink.destination.base import DestinationDown
from meterfabric_sink.destination.sqlite import SqliteDestination
from meterfabric_sink.meters import Meters
from meterfabric_sink.worker import Worker

FABRIC = "metering.main"


class Log:
    """A producer's log, sealing batches of records."""

    def __init__(self, authority: LocalAuthority, pod: str) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.origin = origin(FABRIC, "shop", pod, self.key.public_key().public_bytes_raw())
        self.chain = authority.issue(
            make_csr(self.key, Producer("example.org", FABRIC, "shop", "web", pod, "u").spiffe)
        )
        self.frontier = CompactRange.empty()

    def seal(self, count: int) -> Incoming:
        first = self.frontier.size
        leaves = [
            b'{"specversion":"1.0","id":"%d","source":"/%b","type":"t"}' % (first + i, self.origin.encode())
            for i in range(count)
        ]
        payload = batch.join(leaves)
        header, self.frontier = batch.seal(
            self.origin, self.key, self.frontier, leaf_hashes(leaves), "records", payload
        )
        return Incoming(None, self.origin, bytes(16), 0, self.chain, batch.encode_header(header), payload)


class Flaky(SqliteDestination):
    """A destination that is away when told so."""

    away = False

    async def commit(self, updates: Sequence[LogUpdate]) -> None:
        if self.away:
            raise DestinationDown("unplugged")
        await super().commit(updates)


class Bench:
    """A worker, its destination, and the answers that left."""

    def __init__(self, folder: Path) -> None:
        self.authority = LocalAuthority(
            folder / "authority", trust_domain="example.org", admits=lambda _: True, clock=lambda: datetime.now(UTC)
        )
        self.key = Ed25519PrivateKey.generate()
        assert self.authority.issue(make_csr(self.key, Sink("example.org", FABRIC, "billing").spiffe))
        core = SinkCore(
            SinkSettings(FABRIC, "billing"),
            self.key,
            ChainVerifier(TrustBundle(self.authority.bundle())),
            lambda data, length: data,
        )
        self.store = Flaky(folder / "records.db")
        self.answers: list[tuple[Incoming, answers.Answer]] = []
        self.worker = Worker(core, self.store, self._reply, Meters(), group_bytes=1 << 20)

    def _reply(self, item: Incoming, body: bytes, signature: bytes) -> None:
        answers.verify(body, signature, self.key.public_key().public_bytes_raw())
        self.answers.append((item, answers.read(body)))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.005)

    def kinds(self) -> list[str]:
        return [answer.kind for _, answer in self.answers]


@contextlib.asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Bench]:
    bench = Bench(folder)
    await bench.store.open()
    task = asyncio.create_task(bench.worker.run())
    try:
        yield bench
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await bench.store.close()


async def test_batches_in_order_get_receipts_in_order(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        log = Log(bench.authority, "web-0")
        items = [log.seal(3) for _ in range(20)]
        for item in items:
            bench.worker.take(item)
        await bench.until(lambda: len(bench.answers) == 20)
        assert bench.kinds() == ["receipt"] * 20
        assert [item for item, _ in bench.answers] == items
        assert (await bench.store.positions([log.origin]))[log.origin].size == 60
        await bench.until(lambda: bench.worker.idle)


async def test_a_batch_beyond_the_position_is_answered_with_that_position(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        log = Log(bench.authority, "web-0")
        first, lost, beyond = log.seal(2), log.seal(2), log.seal(2)
        bench.worker.take(first)
        bench.worker.take(beyond)
        await bench.until(lambda: len(bench.answers) == 2)
        assert bench.kinds() == ["receipt", "position"]
        assert bench.answers[1][1].size == 2
        bench.worker.take(lost)
        bench.worker.take(beyond)
        await bench.until(lambda: len(bench.answers) == 4)
        assert bench.kinds()[2:] == ["receipt", "receipt"]


async def test_a_batch_that_is_held_already_gets_its_receipt_again_and_is_not_stored_twice(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        log = Log(bench.authority, "web-0")
        item = log.seal(5)
        for _ in range(3):
            bench.worker.take(item)
        await bench.until(lambda: len(bench.answers) == 3)
        assert bench.kinds() == ["receipt"] * 3
        assert len({answer.cosignature for _, answer in bench.answers}) == 1
        assert (await bench.store.positions([log.origin]))[log.origin].records == 5


async def test_a_position_that_another_worker_moved_is_read_again_before_a_no(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        log = Log(bench.authority, "web-0")
        first, second, third = log.seal(1), log.seal(1), log.seal(1)
        bench.worker.take(first)
        await bench.until(lambda: len(bench.answers) == 1)
        # What another worker of the sink would do, behind this one's back.
        held = await bench.store.positions([log.origin])
        verdict = bench.worker._core.judge([second], held, held.keys(), int(time.time()))
        await bench.store.commit(list(verdict.updates.values()))
        bench.worker.take(third)
        await bench.until(lambda: len(bench.answers) == 2)
        assert bench.kinds() == ["receipt", "receipt"]


async def test_nothing_is_answered_while_the_destination_is_away_and_all_is_once_it_is_back(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        logs = [Log(bench.authority, f"web-{number}") for number in range(3)]
        bench.store.away = True
        for log in logs:
            for _ in range(4):
                bench.worker.take(log.seal(2))
        await bench.until(lambda: bench.worker.down is not None)
        assert bench.answers == []
        assert not bench.worker.idle
        bench.store.away = False
        await bench.until(lambda: len(bench.answers) == 12)
        assert set(bench.kinds()) == {"receipt"}
        held = await bench.store.positions([log.origin for log in logs])
        assert [held[log.origin].records for log in logs] == [8, 8, 8]
        assert bench.worker.down is None
