"""A worker on a real destination, without relays: what it is given, and the answers that leave it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_protocol import batch
from meterfabric_protocol.delivery import answer as answers
from meterfabric_protocol.delivery.settings import SinkSettings
from meterfabric_protocol.delivery.sink import SinkCore
from meterfabric_protocol.delivery.verdict import Incoming
from meterfabric_protocol.identity import ChainVerifier, TrustBundle
from meterfabric_protocol.merkle import CompactRange, leaf_hashes
from meterfabric_protocol.names import Producer, Sink, origin
from meterfabric_runtime.authority import LocalAuthority
from meterfabric_runtime.csr import make_csr
from meterfabric_sink.destination.base import Destination
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
        """The next batch, as it comes from a relay."""
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


class Bench:
    """A worker, its destination, and the answers that left."""

    def __init__(self, folder: Path, store: Destination, group_bytes: int, group_batches: int, verify: bool) -> None:
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
        self.store = store
        self._verify = verify
        self.answers: list[tuple[Incoming, answers.Answer]] = []
        self.worker = Worker(
            core, self.store, self._reply, Meters(), group_bytes=group_bytes, group_batches=group_batches
        )

    def _reply(self, item: Incoming, body: bytes, signature: bytes) -> None:
        if self._verify:
            answers.verify(body, signature, self.key.public_key().public_bytes_raw())
        self.answers.append((item, answers.read(body)))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition."""
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.005)

    def kinds(self) -> list[str]:
        """Of the answers, in order."""
        return [answer.kind for _, answer in self.answers]


@contextlib.asynccontextmanager
async def running(
    folder: Path, store: Destination, group_bytes: int = 1 << 20, group_batches: int = 64, *, verify: bool = True
) -> AsyncIterator[Bench]:
    """A worker at work on this destination; ``verify``: hold each answer's signature against the sink's key."""
    bench = Bench(folder, store, group_bytes, group_batches, verify)
    await bench.store.open()
    task = asyncio.create_task(bench.worker.run())
    try:
        yield bench
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await bench.store.close()
