"""One log of a sink, verified from its stored bytes: leaves, roots, checkpoints, receipts, notices, position."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import itemgetter

import msgspec

from meterfabric_cli.auditing.finding import Findings
from meterfabric_cli.auditing.sink_identity import SinkIdentity
from meterfabric_protocol import checkpoint as checkpoints
from meterfabric_protocol import notice as notices
from meterfabric_protocol.batch import parse_own_note
from meterfabric_protocol.checkpoint import Checkpoint, SignedCheckpoint
from meterfabric_protocol.errors import Malformed, ProtocolError
from meterfabric_protocol.identity import ChainVerifier, match_origin
from meterfabric_protocol.merkle import CompactRange
from meterfabric_protocol.names import key_hash, key_hash_of
from meterfabric_sink.destination.base import DestinationRefused, Equivocation, Held, StoredBatch, StoredNotice
from meterfabric_sink.evidence import Evidence, HeldLeaves

_FIRST_BYTE = itemgetter(0)
_MARKS = {"records": ord("{"), "notices": ord("!")}


class Broken(Exception):
    """Nothing after this place of the log can be verified."""


@dataclass
class LogAudit:
    """What was found in one log. `batches` are its batches for the books: neighbours of one kind joined into one,
    but for those that notices name. `roots` are the roots at the sizes that other logs name."""

    held: Held
    findings: Findings
    notices: list[StoredNotice] = field(default_factory=list)
    batches: list[StoredBatch] = field(default_factory=list)
    roots: dict[int, bytes] = field(default_factory=dict)
    records: int = 0
    payload_bytes: int = 0
    receipts: int = 0
    erased: int = 0
    last_time: int = 0
    """Newest receipt, Unix seconds."""
    unenrolled_to: int = 0
    """Size of the last batch taken when no certificate of the log was valid: a later log must vouch for so much."""
    unenrolled_why: str = ""
    equivocations: list[Equivocation] = field(default_factory=list)
    """Pairs of its checkpoints that can't both be true."""

    @property
    def origin(self) -> str:
        """The log's name."""
        return self.held.origin


class LogAuditor:
    """Audits the logs of one sink one after another; memory is bounded by the largest batch."""

    def __init__(
        self, evidence: Evidence, verifier: ChainVerifier, sink: SinkIdentity, progress: Callable[[int], None]
    ) -> None:
        """`progress` is told the leaves of each batch as it was verified."""
        self._evidence = evidence
        self._verifier = verifier
        self._sink = sink
        self._progress = progress

    def audit(
        self,
        held: Held,
        said: Sequence[StoredNotice],
        named_sizes: Collection[int],
        named_batches: Collection[tuple[int, int]],
    ) -> LogAudit:
        """Verify a log. `said` are its notices; roots are kept at `named_sizes`, batches at `named_batches`."""
        done = LogAudit(held, Findings(held.origin), list(said))
        try:
            done.equivocations = self._evidence.equivocations(held.origin)
            self._check_key(held)
            self._follow(done, named_sizes, named_batches)
        except Broken as error:
            done.findings.add(0, 0, str(error))
        except (ProtocolError, ValueError, DestinationRefused) as error:
            done.findings.add(0, 0, f"what is stored can't be read: {error}")
        return done

    def _check_key(self, held: Held) -> None:
        hashed = key_hash_of(held.origin)
        if held.public_key and key_hash(held.public_key) != hashed:
            raise Broken("the key stored for it is not the one it is named for")
        if not held.public_key and (held.size or held.head_size):
            raise Broken("no key is stored for it")

    def _follow(self, done: LogAudit, named_sizes: Collection[int], named_batches: Collection[tuple[int, int]]) -> None:
        chains = [each.chain for each in self._evidence.certificates(done.origin)][::-1]
        if done.held.chain and done.held.chain not in chains:
            chains.insert(0, done.held.chain)
        frontier = CompactRange.empty()
        counts = {"records": 0, "notices": 0, "stub": 0}
        stubbed_records = 0
        for stored in self._evidence.leaves(done.origin):
            batch = stored.batch
            if batch.first != frontier.size or batch.size <= batch.first:
                raise Broken(f"its batches don't follow each other: [{batch.first}, {batch.size}) at {frontier.size}")
            frontier = self._batch(done, stored, frontier, chains)
            counts[batch.kind] += batch.size - batch.first
            if batch.kind == "stub" and batch.of == "records":
                stubbed_records += batch.size - batch.first
            if batch.size in named_sizes:
                done.roots[batch.size] = frontier.root()
            _join(done.batches, batch, named_batches)
        done.records = counts["records"]
        self._check_position(done, frontier, counts, counts["records"] + stubbed_records)

    def _batch(self, done: LogAudit, stored: HeldLeaves, frontier: CompactRange, chains: list[bytes]) -> CompactRange:
        batch = stored.batch
        roots = CompactRange.decode(batch.first, batch.size, batch.roots)
        after = frontier.extend(roots)
        signed = self._checkpoint(done, batch)
        if after.root() != signed.checkpoint.root:
            raise Broken(f"the batch [{batch.first}, {batch.size}) doesn't lead to its checkpoint's root")
        if batch.kind != "stub":
            self._leaves(done, stored, roots)
        self._receipt(done, batch, signed)
        self._certificate(done, batch, chains)
        self._progress(batch.size - batch.first)
        return after

    def _checkpoint(self, done: LogAudit, batch: StoredBatch) -> SignedCheckpoint:
        try:
            signed = parse_own_note(batch.note, batch.origin)
            stated: Checkpoint = checkpoints.authenticate(signed, batch.origin, done.held.public_key)
        except ProtocolError as error:
            raise Broken(f"the checkpoint of [{batch.first}, {batch.size}): {error}") from error
        if (stated.first, stated.size) != (batch.first, batch.size):
            raise Broken(f"the checkpoint of [{batch.first}, {batch.size}) is of [{stated.first}, {stated.size})")
        return signed

    def _leaves(self, done: LogAudit, stored: HeldLeaves, roots: CompactRange) -> None:
        batch, leaves = stored.batch, stored.leaves
        count = batch.size - batch.first
        if batch.kind != batch.of:
            done.findings.add(batch.first, batch.size, f"held as {batch.kind}, yet said to be of {batch.of}")
        if len(leaves) != count or any(index not in stored.erased for index in _gone(stored)):
            held = len(leaves) - leaves.count(None)
            done.findings.add(batch.first, batch.size, f"{held} leaves are stored of {count}")
            return
        if CompactRange.empty(batch.first).append(stored.hashes()) != roots:
            done.findings.add(batch.first, batch.size, "altered: the stored bytes don't hash to the signed root")
            return
        present = [leaf for leaf in leaves if leaf is not None] if stored.erased else leaves
        done.erased += len(stored.erased)
        if batch.kind == "records":
            done.payload_bytes += sum(map(len, present)) + len(present)  # type: ignore[arg-type]
        if present and set(map(_FIRST_BYTE, present)) != {_MARKS[batch.kind]}:  # type: ignore[arg-type]
            done.findings.add(batch.first, batch.size, f"a leaf that is none of {batch.kind}")
        elif batch.kind == "notices":
            for index, leaf in enumerate(leaves, batch.first):
                try:
                    notices.decode(leaf or b"")
                except Malformed as error:
                    done.findings.add(index, index + 1, str(error))

    def _receipt(self, done: LogAudit, batch: StoredBatch, signed: SignedCheckpoint) -> None:
        if batch.kind == "stub":
            if batch.cosignature is not None:
                done.findings.add(batch.first, batch.size, "a receipt for a stub")
            return
        if batch.cosignature is None:
            done.findings.add(batch.first, batch.size, "held without a receipt")
            return
        try:
            time = self._sink.verify(signed.text, batch.cosignature)
        except ProtocolError as error:
            done.findings.add(batch.first, batch.size, f"the sink's receipt: {error}")
            return
        if time != batch.time:
            done.findings.add(batch.first, batch.size, f"stored as of {batch.time}, its receipt says {time}")
        done.receipts += 1

    def _certificate(self, done: LogAudit, batch: StoredBatch, chains: list[bytes]) -> None:
        done.last_time = max(done.last_time, batch.time)
        why = "no certificate of its own is stored"
        for number, chain in enumerate(chains):
            try:
                identity = self._verifier.verify(chain, datetime.fromtimestamp(batch.time, UTC), role="producer")
                match_origin(identity, batch.origin)
            except ProtocolError as error:
                why = str(error)
            except (OverflowError, ValueError, OSError):
                why = f"a time of {batch.time}"
            else:
                if number:
                    chains.insert(0, chains.pop(number))
                return
        done.unenrolled_to = batch.size
        done.unenrolled_why = why

    def _check_position(
        self, done: LogAudit, frontier: CompactRange, counts: dict[str, int], records_in_log: int
    ) -> None:
        held, add = done.held, done.findings.add
        if (held.size, held.frontier) != (frontier.size, frontier.encode()) or held.root != frontier.root():
            add(0, 0, f"its position row says {held.size} leaves, its batches make {frontier.size}, or another root")
        if (held.records, held.notices, held.stubbed) != (counts["records"], counts["notices"], counts["stub"]):
            add(0, 0, "its position row counts other records, notices and stubs than its batches do")
        if len(done.notices) != counts["notices"]:
            add(0, 0, f"{len(done.notices)} notices are stored, its batches hold {counts['notices']}")
        if held.head_size < held.size:
            add(0, 0, f"the newest checkpoint heard is of {held.head_size}, the position is {held.size}")
        elif held.head_size:
            try:
                head = checkpoints.verify(held.head_note, held.origin, held.public_key)
                if head.size != held.head_size or (head.size == held.size and head.root != held.root):
                    add(0, 0, "the newest checkpoint heard is not the one stored")
            except ProtocolError as error:
                add(0, 0, f"the newest checkpoint heard: {error}")
        closing = [body for each in done.notices if (body := _closed(each.body)) and body.log == held.origin]
        if held.closed != bool(closing):
            add(0, 0, "its position row and its notices disagree on whether it is closed")
        if closing and closing[-1].records != records_in_log:
            add(0, 0, f"it was closed with {closing[-1].records} records, its batches make {records_in_log}")


def _gone(stored: HeldLeaves) -> list[int]:
    return [index for index, leaf in enumerate(stored.leaves, stored.batch.first) if leaf is None]


def _closed(body: bytes) -> notices.Closed | None:
    try:
        notice = notices.decode(body)
    except Malformed:
        return None
    return notice if isinstance(notice, notices.Closed) else None


def _join(batches: list[StoredBatch], batch: StoredBatch, named: Collection[tuple[int, int]]) -> None:
    """Put a batch behind the others, as part of the last one where the books needn't tell them apart."""
    last = batches[-1] if batches else None
    if (
        last is not None
        and (last.kind, last.of, last.size) == (batch.kind, batch.of, batch.first)
        and (batch.first, batch.size) not in named
        and (last.first, last.size) not in named
    ):
        batches[-1] = msgspec.structs.replace(last, size=batch.size)
    else:
        batches.append(msgspec.structs.replace(batch, roots=b"", cosignature=None))
