"""The books of a fabric after its faults, made from what sinks store and what clients were promised.

Written apart from the auditor's code: it reads the evidence, verifies every batch, root, signature, cosignature and
certificate, and then holds every record that any client was told is accepted against what the sink has.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal, TypeVar

from meterfabric_cli.main import main as meterfabric
from meterfabric_protocol import checkpoint as checkpoints
from meterfabric_protocol import cosignature, names
from meterfabric_protocol import notice as notices
from meterfabric_protocol.delivery.stored import Held, StoredBatch
from meterfabric_protocol.identity import ChainVerifier, TrustBundle, match_origin
from meterfabric_protocol.merkle import CompactRange
from meterfabric_protocol.notice import Continues, Damaged, Expired, LostBySink, SinkJoined
from meterfabric_sink.evidence import Evidence, open_evidence
from tests.faults.fabric import FABRIC, Fabric, Sink

Reason = Literal["expired", "damaged", "lost", "joined", "repeated"]
_FATES: dict[Reason, str] = {
    "expired": "expired",
    "lost": "lost",
    "joined": "unowed",
}
_BEYOND: tuple[Reason, ...] = ("repeated", "damaged")
T = TypeVar("T", bound=notices.Notice)


@dataclass
class SinkBooks:
    """What one sink holds, verified."""

    records: Counter[bytes] = field(default_factory=Counter)
    """Every record held, and how often."""
    logs: dict[str, list[bytes]] = field(default_factory=dict)
    """The records of each log in order."""
    held: dict[str, Held] = field(default_factory=dict)
    notices: dict[str, list[notices.Notice]] = field(default_factory=dict)
    passed: Counter[Reason] = field(default_factory=Counter)
    """Records passed over, by the notice that says why."""
    equivocations: int = 0

    def of(self, kind: type[T]) -> list[T]:
        """All notices of this kind."""
        return [each for log in self.notices.values() for each in log if isinstance(each, kind)]


def read(fabric: Fabric, sink: Sink) -> SinkBooks:
    """Read and verify all that a sink stores; AssertionError or a ProtocolError where anything of it doesn't hold."""
    books = SinkBooks()
    verifier = ChainVerifier(TrustBundle(fabric.trust.read_bytes()))
    stubs: list[StoredBatch] = []
    held_batches: dict[tuple[str, int, int], bytes] = {}
    with open_evidence(sink.url) as evidence:
        for held in evidence.logs():
            books.held[held.origin] = held
            books.equivocations += len(evidence.equivocations(held.origin))
            _authorised(evidence, held, verifier)
            stubs += _read_log(evidence, held, sink, books, held_batches)
    for stub in stubs:
        if stub.of == "records":
            _excuse(stub, sink.name, books, held_batches)
    return books


def _authorised(evidence: Evidence, held: Held, verifier: ChainVerifier) -> None:
    if not held.size:
        return
    chains = evidence.certificates(held.origin)
    assert chains or held.vouched_by, f"{held.origin} was taken without a certificate"
    for chain in chains:
        at = datetime.fromtimestamp(chain.not_before, UTC)
        identity = verifier.verify(chain.chain, at, role="producer", fabric=FABRIC)
        match_origin(identity, held.origin)
        assert identity.public_key == held.public_key
    assert names.key_hash(held.public_key) == names.key_hash_of(held.origin)


def _read_log(
    evidence: Evidence, held: Held, sink: Sink, books: SinkBooks, held_batches: dict[tuple[str, int, int], bytes]
) -> list[StoredBatch]:
    frontier = CompactRange.empty()
    records: list[bytes] = []
    said: list[notices.Notice] = []
    stubs: list[StoredBatch] = []
    public_key = sink.key.public_key().public_bytes_raw()
    for stored in evidence.leaves(held.origin):
        batch = stored.batch
        assert batch.first == frontier.size, f"{held.origin}: a hole before {batch.first}"
        signed = checkpoints.verify(batch.note, held.origin, held.public_key)
        assert (signed.first, signed.size) == (batch.first, batch.size)
        if batch.kind == "stub":
            assert batch.cosignature is None, "a receipt for a stub"
            frontier = frontier.extend(CompactRange.decode(batch.first, batch.size, batch.roots))
            stubs.append(batch)
        else:
            leaves = [leaf for leaf in stored.leaves if leaf is not None]
            assert len(leaves) == batch.size - batch.first
            assert batch.cosignature is not None
            text = checkpoints.parse(batch.note).text
            name = names.cosigner(FABRIC, sink.name)
            cosignature.verify(text, batch.cosignature.encode(), name, public_key)
            frontier = frontier.append(stored.hashes())
            if batch.kind == "records":
                records += leaves
            else:
                said += [notices.decode(leaf) for leaf in leaves]
        assert frontier.root() == signed.root, f"{held.origin}: the root at {batch.size} doesn't follow from the leaves"
        if batch.kind == "records":
            held_batches[held.origin, batch.first, batch.size] = signed.root
    assert (held.size, held.root) == (frontier.size, frontier.root())
    books.records.update(records)
    books.logs[held.origin] = records
    books.notices[held.origin] = said
    return stubs


def _excuse(stub: StoredBatch, sink: str, books: SinkBooks, held: dict[tuple[str, int, int], bytes]) -> None:
    """Find the one notice that says why these records are not here."""
    for log, said in books.notices.items():
        for notice in said:
            if (reason := _reason(stub, log, sink, notice, held)) is not None:
                books.passed[reason] += stub.size - stub.first
                return
    raise AssertionError(f"{sink} passed over [{stub.first}, {stub.size}) of {stub.origin}, and no notice says why")


def _reason(
    stub: StoredBatch, log: str, sink: str, notice: notices.Notice, held: dict[tuple[str, int, int], bytes]
) -> Reason | None:
    match notice:
        case Continues() if log == stub.origin:
            again = next((each for each in notice.again if each.at == stub.first), None)
            if again and held.get((notice.previous, again.first, again.size)) == again.root:
                return "repeated"
        case Expired() if notice.sink == sink and notice.log == stub.origin and _covers(notice.ranges, stub):
            return "expired"
        case Damaged() if notice.log == stub.origin and _covers(notice.ranges, stub):
            return "damaged"
        case LostBySink() if notice.sink == sink and notice.log == stub.origin and _covers(notice.ranges, stub):
            return "lost"
        case SinkJoined() if notice.sink == sink and notice.log == stub.origin and stub.size <= notice.size:
            return "joined"
    return None


def _covers(ranges: Iterable[tuple[int, int]], stub: StoredBatch) -> bool:
    return any(first <= stub.first and stub.size <= size for first, size in ranges)


def check(fabric: Fabric, *, unknowable: Mapping[str, int] = MappingProxyType({})) -> dict[str, SinkBooks]:
    """Hold every sink's books against what clients were promised.

    Call once everything is settled and no client sends any more. `unknowable` says for a sink how many records nothing
    can tell of any more, since disk, key and head all went back to before they came. Returns what each sink holds.
    """
    accepted = [record for load in fabric.loads for record in load.accepted]
    promised = set(accepted)
    assert len(promised) == len(accepted) > 0
    found = {}
    for sink in fabric.sinks.values():
        books = found[sink.name] = read(fabric, sink)
        for record, count in books.records.items():
            assert record in promised, f"{sink.name} holds what nobody sent: {record!r}"
            assert count == 1, f"{sink.name} holds {count} times {record!r}"
        lacking = len(promised) - len(books.records)
        accounted = sum(count for reason, count in books.passed.items() if reason != "repeated")
        gone = _gone_with_the_disk(books) + unknowable.get(sink.name, 0)
        assert accounted <= lacking <= accounted + gone, (
            f"{sink.name}: of {len(promised)} accepted records {lacking} are not there, notices account for {accounted}"
            f" and up to {gone} more"
        )
        _in_order(fabric, books)
        _as_the_auditor_says(fabric, sink, books)
    return found


def _as_the_auditor_says(fabric: Fabric, sink: Sink, books: SinkBooks) -> None:
    """`meterfabric audit` finds the sink whole, and the same counts."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        code = meterfabric(["audit", "--json", "--sink", sink.url, "--trust", str(fabric.trust)])
    assert code == 0, f"{sink.name}: {shown.getvalue()}"
    records: Counter[str] = Counter()
    for producer in json.loads(shown.getvalue())["producers"]:
        records.update(producer["records"])
    assert records.pop("delivered", 0) == len(books.records)
    # Of what a sink only heard of, past the end that a later log names, the auditor says where that is too.
    for beyond in _BEYOND:
        assert records[beyond] >= books.passed[beyond]
        records[beyond] = 0
    records.pop("missing", None)
    for reason, fate in _FATES.items():
        assert records.pop(fate, 0) == books.passed[reason], f"{sink.name}: {fate}"
    assert not +records, f"{sink.name}: the auditor finds {+records} besides"


def _gone_with_the_disk(books: SinkBooks) -> int:
    """Leaves that a log is known to have had and that its successor says it can't show any more.

    More than are lacking: a sink may hold them already, and some were notices.
    """
    gone = 0
    for notice in books.of(Continues):
        if isinstance(notice.heard, int):
            gone += notice.heard - notice.size - sum(again.size - again.first for again in notice.again)
    return gone


def _in_order(fabric: Fabric, books: SinkBooks) -> None:
    """Each log holds each client's records in the order in which they were accepted."""
    place = {record: (load.name, n) for load in fabric.loads for n, record in enumerate(load.accepted)}
    for origin, records in books.logs.items():
        last: dict[str, int] = {}
        for record in records:
            client, number = place[record]
            assert number > last.get(client, -1), f"{origin}: record {number} of {client} after {last[client]}"
            last[client] = number
