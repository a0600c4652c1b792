"""A sink with real contents, made without any process: real logs, judged and committed by the real worker."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_protocol import batch, notice
from meterfabric_protocol.delivery.answer import Answer
from meterfabric_protocol.delivery.credential import bare
from meterfabric_protocol.delivery.permit import sign_permit
from meterfabric_protocol.delivery.settings import SinkSettings
from meterfabric_protocol.delivery.sink import SinkCore
from meterfabric_protocol.delivery.verdict import Incoming
from meterfabric_protocol.identity import ChainVerifier, TrustBundle
from meterfabric_protocol.merkle import CompactRange, leaf_hashes
from meterfabric_protocol.names import origin
from meterfabric_sink.destination.base import Certificate
from meterfabric_sink.destination.open import destination
from meterfabric_sink.main import decompress
from meterfabric_sink.meters import Meters
from meterfabric_sink.worker import Worker
from tests.pki import DAY, FABRIC, NOW, SINK, TRUST_DOMAIN, Authority

WALL = int(NOW.timestamp())
SOURCE = "//meter"


def event(number: int, **attributes: object) -> bytes:
    """One CloudEvent."""
    content = {"specversion": "1.0", "id": f"event-{number}", "source": SOURCE, "type": "cpu.seconds"}
    return json.dumps({**content, "data": {"value": number}, **attributes}, separators=(",", ":")).encode()


class MadeLog:
    """One producer's log, sealed in memory; what was sealed and not delivered waits in `sealed`."""

    def __init__(self, authority: Authority, pod: str = "web-0", *, enrolled: bool = True) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.origin = origin(FABRIC, "shop", pod, self.key.public_key().public_bytes_raw())
        uri = f"spiffe://{TRUST_DOMAIN}/fabric/{FABRIC}/ns/shop/sa/web/pod/{pod}/uid/6a1f-22"
        self.chain = authority.chain(self.key, uri) if enrolled else bare(self.key.public_key())
        self.frontier = CompactRange.empty()
        self.records_sealed = 0
        self.sealed: list[tuple[batch.BatchHeader, bytes]] = []

    @property
    def size(self) -> int:
        """Leaves sealed."""
        return self.frontier.size

    def add(self, leaves: Sequence[bytes], *, stub: bool = False) -> MadeLog:
        """Seal one batch."""
        of: batch.Content = "notices" if notice.is_notice(leaves[0]) else "records"
        payload = batch.join(leaves)
        header, self.frontier = batch.seal(self.origin, self.key, self.frontier, leaf_hashes(leaves), of, payload)
        self.records_sealed += len(leaves) if of == "records" else 0
        if stub:
            permit = sign_permit(header.stub(), ["billing"], self.key, self.chain)
            self.sealed.append((header.stub(), permit))
        else:
            self.sealed.append((header, payload))
        return self

    def say(self, *said: notice.Notice) -> MadeLog:
        """Seal a batch of notices."""
        return self.add([notice.encode(each) for each in said])

    def open(self) -> MadeLog:
        """Seal the notice that every log begins with."""
        return self.say(notice.Opened(log=self.origin))

    def close(self) -> MadeLog:
        """Seal the last notice."""
        return self.say(notice.Closed(log=self.origin, records=self.records_sealed))

    def records(self, count: int, *, stub: bool = False) -> MadeLog:
        """Seal a batch of that many plain events."""
        return self.add([event(number) for number in range(self.size, self.size + count)], stub=stub)


class MadeSink:
    """A sink at `url`; `trust` is the file with its fabric's roots."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.authority = Authority()
        self.trust = folder / "trust.pem"
        self.trust.write_bytes(self.authority.pem)
        self.key = Ed25519PrivateKey.generate()
        self.answers: list[str] = []
        self.wall = WALL

    def log(self, pod: str = "web-0", *, enrolled: bool = True) -> MadeLog:
        """A new log of a pod."""
        return MadeLog(self.authority, pod, enrolled=enrolled)

    def take(self, *logs: MadeLog) -> list[str]:
        """Deliver what is sealed; the kinds of the sink's answers in order."""
        self.answers.clear()
        asyncio.run(self._take(logs))
        return list(self.answers)

    def hear(self, log: MadeLog) -> None:
        """Tell the sink of a log's newest checkpoint alone, and drop what led to it."""
        header, _ = log.sealed[-1]
        log.sealed.clear()
        asyncio.run(self._judge([Incoming(0, log.origin, b"n" * 16, 0, log.chain, header.note, head=True)]))

    async def _take(self, logs: Sequence[MadeLog]) -> None:
        items = []
        for log in logs:
            for header, payload in log.sealed:
                wire = batch.encode_header(header)
                items.append(Incoming(0, log.origin, b"n" * 16, 0, log.chain, wire, payload))
            log.sealed.clear()
        await self._judge(items)

    async def _judge(self, items: Sequence[Incoming]) -> None:
        async with self._worker() as worker:
            for item in items:
                worker.take(item)
            async with asyncio.timeout(20):
                await asyncio.sleep(0)
                while not worker.idle:
                    await asyncio.sleep(0.005)

    @contextlib.asynccontextmanager
    async def _worker(self) -> AsyncIterator[Worker]:
        verifier = ChainVerifier(TrustBundle(self.authority.pem))
        core = SinkCore(SinkSettings(FABRIC, "billing"), self.key, verifier, decompress)
        store = destination(self.url)
        await store.open()
        chain = self.authority.chain(self.key, SINK)
        validity = int((NOW - DAY).timestamp()), int((NOW + DAY).timestamp())
        await store.introduce(Certificate(chain, *validity))
        worker = Worker(
            core,
            store,
            lambda item, body, signature: self.answers.append(msgspec.msgpack.decode(body, type=Answer).kind),
            Meters(),
            group_bytes=8 << 20,
            group_batches=128,
            wall=lambda: self.wall,
        )
        running = asyncio.create_task(worker.run())
        yield worker
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await store.close()
