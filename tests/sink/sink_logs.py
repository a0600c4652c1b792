"""Logs as a worker hands them to a destination: real leaves, roots, checkpoints and receipts."""

import hashlib
import json
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_protocol import batch, notice
from meterfabric_protocol.checkpoint import parse
from meterfabric_protocol.cosignature import cosign
from meterfabric_protocol.merkle import EMPTY_ROOT, CompactRange, leaf_hashes
from meterfabric_sink.destination.base import BatchKind, Held, LeafKind, LogUpdate, StoredBatch, StoredNotice
from meterfabric_sink.evidence import Evidence

SINK = "billing.prod/sink/main"
TIME = 1_790_000_000


def event(number: int, **attributes: object) -> bytes:
    """One CloudEvent."""
    content = {
        "specversion": "1.0",
        "id": f"event-{number}",
        "source": "//meter",
        "type": "cpu.seconds",
        "subject": f"customer-{number % 7}",
        "time": "2026-11-24T06:33:12.5Z",
        "data": {"value": number, "unit": "s"},
    }
    return json.dumps({**content, **attributes}, separators=(",", ":")).encode()


class Log:
    """One producer's log, growing in memory; `next` makes the update that commits what was added since."""

    def __init__(self, name: str = "meter-0") -> None:
        self.key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())
        self.public_key = self.key.public_key().public_bytes_raw()
        self.origin = f"billing.prod/team-a/{name}/{hashlib.sha256(self.public_key).hexdigest()[:26]}"
        self.sink_key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"sink").digest())
        self.frontier = CompactRange.empty()
        self.leaves: list[bytes] = []
        self.held = Held(self.origin, 0, EMPTY_ROOT, b"", 0, 0, 0, 0, b"", False, self.public_key, b"chain")
        self._batches: list[StoredBatch] = []
        self._notices: list[StoredNotice] = []

    @property
    def size(self) -> int:
        """The log's size, with what isn't committed yet."""
        return self.frontier.size

    def add(self, leaves: Sequence[bytes], *, stub: bool = False) -> "Log":
        """Seal one batch of records, or of notices where the leaves are such; `stub` keeps only its roots."""
        of: LeafKind = "notices" if notice.is_notice(leaves[0]) else "records"
        payload = batch.join(leaves)
        header, after = batch.seal(self.origin, self.key, self.frontier, leaf_hashes(leaves), of, payload)
        line = cosign(parse(header.note).text, SINK, self.sink_key, TIME).decode()
        kind: BatchKind = "stub" if stub else of
        self._batches.append(
            StoredBatch(
                self.origin,
                header.first,
                header.size,
                kind,
                of,
                header.note,
                header.roots,
                None if stub else line,
                TIME,
                b"" if stub else payload,
            )
        )
        if kind == "notices":
            self._notices += [StoredNotice(index, leaf) for index, leaf in enumerate(leaves, header.first)]
        self.frontier = after
        self.leaves += leaves
        return self

    def records(self, count: int) -> "Log":
        """Seal one batch of that many plain events."""
        return self.add([event(number) for number in range(self.size, self.size + count)])

    def next(self) -> LogUpdate:
        """The update that brings a sink from the last one's position to this log's size."""
        before, batches = self.held, tuple(self._batches)
        counts = {"records": before.records, "notices": before.notices, "stub": before.stubbed}
        for each in batches:
            counts[each.kind] += each.size - each.first
        self.held = Held(
            self.origin,
            self.size,
            self.frontier.root(),
            self.frontier.encode(),
            counts["records"],
            counts["notices"],
            counts["stub"],
            self.size,
            batches[-1].note if batches else before.head_note,
            False,
            self.public_key,
            b"chain",
        )
        update = LogUpdate(self.origin, before.size, self.held, batches, tuple(self._notices))
        self._batches, self._notices = [], []
        return update


def hold_together(evidence: Evidence) -> dict[str, int]:
    """Verify every log from its stored bytes alone, as an auditor would; returns the size of each."""
    sizes = {}
    for held in evidence.logs():
        frontier = CompactRange.empty()
        for stored in evidence.leaves(held.origin):
            each = stored.batch
            assert each.first == frontier.size
            roots = CompactRange.decode(each.first, each.size, each.roots)
            if each.kind != "stub":
                assert CompactRange.empty(each.first).append(stored.hashes()) == roots
            frontier = frontier.extend(roots)
            assert frontier.root() == parse(each.note).checkpoint.root
        assert (frontier.size, frontier.root(), frontier.encode()) == (held.size, held.root, held.frontier)
        assert held.records + held.notices + held.stubbed == held.size
        sizes[held.origin] = held.size
    return sizes
