"""A producer's log and a sink's core over a store in memory."""

from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_protocol import batch as batches
from meterfabric_protocol import notice
from meterfabric_protocol.batch import BatchHeader, Content, encode_header
from meterfabric_protocol.delivery.answer import Answer
from meterfabric_protocol.delivery.permit import sign_permit
from meterfabric_protocol.delivery.settings import SinkSettings
from meterfabric_protocol.delivery.sink import SinkCore
from meterfabric_protocol.delivery.stored import Held, StoredBatch, blank
from meterfabric_protocol.delivery.verdict import Incoming, Verdict, original
from meterfabric_protocol.errors import Malformed
from meterfabric_protocol.identity import ChainVerifier, TrustBundle, origin
from meterfabric_protocol.merkle import CompactRange, leaf_hashes
from tests.pki import FABRIC, NOW, Authority, raw

AUTHORITY = Authority()
SINK_KEY = Ed25519PrivateKey.generate()
WALL = int(NOW.timestamp())
NONCE = b"n" * 16


def no_zstd(body: bytes, length: int) -> bytes:
    raise Malformed("batch payload", "compressed")


class Log:
    """A producer's log that seals what it is told to."""

    def __init__(self) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.origin = origin(FABRIC, "shop", "web-0", raw(self.key))
        self.chain = AUTHORITY.chain(self.key)
        self.frontier = CompactRange.empty()
        self.headers: list[BatchHeader] = []
        self.payloads: list[bytes] = []

    def seal(self, *leaves: bytes) -> Incoming:
        kind: Content = "notices" if leaves[0].startswith(b"!") else "records"
        payload = batches.join(leaves)
        header, self.frontier = batches.seal(self.origin, self.key, self.frontier, leaf_hashes(leaves), kind, payload)
        self.headers.append(header)
        self.payloads.append(payload)
        return self.batch(-1)

    def batch(self, number: int, **changes: Any) -> Incoming:
        values = {"chain": self.chain, "header": encode_header(self.headers[number]), "payload": self.payloads[number]}
        return Incoming("ticket", self.origin, NONCE, 5, **values | changes)

    def stub(self, number: int, *, sinks: Sequence[str] = ("billing",)) -> Incoming:
        header = self.headers[number].stub()
        return self.batch(
            number, header=encode_header(header), payload=sign_permit(header, sinks, self.key, self.chain)
        )

    def head(self, number: int = -1, *, probe: bool = True) -> Incoming:
        note = self.headers[number].note
        return Incoming("ticket", self.origin, NONCE, 5, self.chain, note, None, head=True, probe=probe)


class Store:
    """What the sink holds."""

    def __init__(self) -> None:
        self.held: dict[str, Held] = {}
        self.batches: dict[tuple[str, int], StoredBatch] = {}
        self.notices: dict[str, list[bytes]] = {}
        verifier = ChainVerifier(TrustBundle(AUTHORITY.pem))
        self.core = SinkCore(SinkSettings(FABRIC, "billing"), SINK_KEY, verifier, no_zstd)

    def judge(self, *items: Incoming, fresh: bool = True) -> Verdict:
        known = self.held.keys() | {item.origin for item in items} if fresh else frozenset()
        return self.core.judge(items, self.held, known, WALL)

    def take(self, *items: Incoming) -> list[Answer]:
        """Carry a verdict out to the end, as a worker does."""
        verdict = self.judge(*items)
        for name in verdict.missing:
            self.held.setdefault(name, blank(name))
        answers = self.commit(verdict)
        for question in verdict.questions:
            held = self.held.get(question.item.origin) or blank(question.item.origin)
            if question.again:
                forked = original(self.notices.get(question.item.origin, ()), question.checkpoint.first)
                stored = self.batches.get((forked.origin, forked.size)) if forked else None
                answers += self.commit(self.core.repeat(question, forked, stored, self.held, WALL))
            else:
                stored = self.batches.get((question.item.origin, question.checkpoint.size))
                answers += self.commit(self.core.resolve(question, stored, held, WALL))
        return answers + (self.take(*verdict.reread) if verdict.reread else [])

    def commit(self, verdict: Verdict) -> list[Answer]:
        for name, update in verdict.updates.items():
            self.held[name] = update.held
            for stored in update.batches:
                self.batches[name, stored.size] = stored
            self.notices.setdefault(name, []).extend(each.body for each in update.notices)
        return [answer for _, answer in verdict.answers]


def continues(log: Log, *, size: int | None = None, again: tuple[notice.Again, ...] = ()) -> Log:
    later = Log()
    size = log.frontier.size if size is None else size
    frontier = CompactRange.empty()
    for header in log.headers:
        if header.size <= size:
            frontier = frontier.extend(header.range)
    said = notice.Continues(
        log=later.origin, previous=log.origin, size=size, root=frontier.root(), reason="restart", again=again
    )
    later.seal(notice.encode(said))
    return later
