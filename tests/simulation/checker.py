"""Holds the books after a history: what every sink stores, against what truly happened."""

from __future__ import annotations

from collections.abc import Iterator

from meterfabric_protocol import checkpoint, cosignature
from meterfabric_protocol import notice as notices
from meterfabric_protocol.books import LogBooks, LogEvidence, Stretch, account
from meterfabric_protocol.delivery.effects import SinkPolicy
from meterfabric_protocol.delivery.stored import StoredBatch
from meterfabric_protocol.errors import ProtocolError
from meterfabric_protocol.identity import cosigner, parse_origin
from meterfabric_protocol.merkle import CompactRange, leaf_hashes

from . import pki
from .destination import Rows
from .kernel import Violation
from .ledger import Record
from .world import World


def check(world: World) -> None:
    """Check everything. Raises Violation."""
    owed = {policy.name: policy for policy in world.policies}
    for sink, destination in world.destinations.items():
        for origin in destination.rows.held:
            _verify_log(sink, destination.rows, origin)
        delivered = _delivered(world, sink, destination.rows)
        if sink in owed:
            _balance(world, owed[sink], destination.rows, delivered)
            _alarmed(world, sink, destination.rows)


def _alarmed(world: World, sink: str, rows: Rows) -> None:
    """Where a sink holds another branch of a log than its pod does, somebody was told."""
    for pod, sidecar in world.sidecars.items():
        for log in sidecar.disk.logs.values():
            theirs = {b.size: checkpoint.parse(b.note).checkpoint.root for b in rows.batches.get(log.origin, ())}
            held = max(theirs, default=0)
            parted = next((b.size for b in log.batches if b.size <= held and theirs.get(b.size) != b.root), None)
            if parted is None:
                continue
            words = {"equivocation"}
            if log.superseded_at is not None and parted > log.superseded_at:
                # What was sealed while the log was about to end behind what the sink told of.
                words.add("spool-behind")
            if not any((word, log.origin) in world.alarms for word in words):
                raise Violation("no-alarm", f"{sink} holds another branch of {log.origin} than {pod}")


def _leaves(batch: StoredBatch) -> list[bytes]:
    return batch.payload.split(b"\n")[:-1]


def _verify_log(sink: str, rows: Rows, origin: str) -> None:
    """Every root and signature, from the stored bytes alone."""
    held = rows.held[origin]
    frontier = CompactRange.empty()
    counts = {"records": 0, "notices": 0, "stub": 0}
    bodies: list[tuple[int, bytes]] = []
    for batch in rows.batches.get(origin, ()):
        what = f"{sink}, {origin} [{batch.first}, {batch.size})"
        if batch.first != frontier.size:
            raise Violation("gap", f"{what} after {frontier.size}")
        stored = CompactRange.decode(batch.first, batch.size, batch.roots)
        if batch.kind != "stub" and CompactRange.empty(batch.first).append(leaf_hashes(_leaves(batch))) != stored:
            raise Violation("bytes", f"{what}: the payload is not what was hashed")
        frontier = frontier.extend(stored)
        counts[batch.kind] += batch.size - batch.first
        if batch.kind == "notices":
            bodies += enumerate(_leaves(batch), batch.first)
        try:
            point = checkpoint.verify(batch.note, origin, held.public_key)
        except ProtocolError as error:
            raise Violation("checkpoint", f"{what}: {error}") from error
        if (point.first, point.size, point.root) != (batch.first, batch.size, frontier.root()):
            raise Violation("root", f"{what}: the checkpoint is of another tree")
        if (batch.cosignature is None) != (batch.kind == "stub"):
            raise Violation("false-receipt", f"{what}: {batch.kind} with cosignature {batch.cosignature!r}")
        if batch.cosignature is not None:
            name = cosigner(pki.FABRIC, sink)
            text = checkpoint.parse(batch.note).text
            cosignature.verify(text, batch.cosignature.encode(), name, pki.public(f"sink {sink}"))
    if (held.size, held.root, held.frontier) != (frontier.size, frontier.root(), frontier.encode()):
        raise Violation("position", f"{sink}, {origin}: at {held.size}, its batches end at {frontier.size}")
    if (held.records, held.notices, held.stubbed) != (counts["records"], counts["notices"], counts["stub"]):
        raise Violation("counts", f"{sink}, {origin}: {counts}, the row says otherwise")
    if bodies != [(notice.index, notice.body) for notice in rows.notices.get(origin, ())]:
        raise Violation("notices", f"{sink}, {origin}: the notices kept are not those delivered")
    if held.head_size < held.size:
        raise Violation("head", f"{sink}, {origin}: head {held.head_size} below position {held.size}")


def _delivered(world: World, sink: str, rows: Rows) -> dict[bytes, tuple[str, int]]:
    """Where each record is held; each once, each submitted, each where its producer put it."""
    found: dict[bytes, tuple[str, int]] = {}
    for origin, batches in rows.batches.items():
        for batch in batches:
            if batch.kind != "records":
                continue
            for index, leaf in enumerate(_leaves(batch), batch.first):
                record = world.ledger.records.get(leaf)
                if record is None or (origin, index) not in record.places:
                    raise Violation("made-up", f"{sink}: {leaf!r} at {origin} {index} was never put there")
                # A spool set back after a fork forgets that it repeated a batch, and repeats it again: a known limit.
                forked = world.ledger.set_back[record.pod] > (record.pod not in world.ledger.cloned)
                if leaf in found and not (forked and len(record.places) > 2):
                    raise Violation("twice", f"{sink}: {leaf!r} at {found[leaf]} and {(origin, index)}")
                found[leaf] = origin, index
    return found


def _balance(world: World, policy: SinkPolicy, rows: Rows, delivered: dict[bytes, tuple[str, int]]) -> None:
    """Every record that was answered has one fate, and a true one."""
    noticed = _noticed(world, policy, rows)
    for pod, books in _books(world, policy.name, rows):
        by_origin = {log.origin: log for log in books}
        for log in books:
            if any(_unexplained(world, policy.name, rows, log.origin, each) for each in log.stretches):
                raise Violation("unexplained", f"{policy.name}, {pod}: {log.stretches}")
            at = 0
            for stretch in log.stretches:
                if stretch.first != at or stretch.size <= stretch.first:
                    raise Violation("books", f"{policy.name}, {log.origin}: {log.stretches}")
                at = stretch.size
        for leaf, record in world.ledger.records.items():
            if record.pod != pod or leaf in delivered or not record.answered or record.rolled_back:
                continue
            fates = {_fate(world, policy, by_origin.get(origin), origin, index) for origin, index in record.places}
            # Where a log forked, the same index stood for other records on the branch that the sink holds.
            said = any(of == place[0] and a <= place[1] < b for place in record.places for of, a, b in noticed)
            if "excused" not in fates and not said:
                raise Violation("lost", f"{policy.name}: {leaf!r} of {record.places} is {fates}")


def _unexplained(world: World, sink: str, rows: Rows, origin: str, stretch: Stretch) -> bool:
    """Whether nothing explains these leaves, nor the loss of a disk that held the notice which did."""
    if stretch.fate != "unexplained":
        return False
    batch = next((b for b in rows.batches.get(origin, ()) if b.first <= stretch.first < b.size), None)
    return batch is None or (sink, origin, batch.first) not in world.ledger.passed


def _noticed(world: World, policy: SinkPolicy, rows: Rows) -> list[tuple[str, int, int]]:
    """Ranges of leaves, by origin, that a notice which the sink holds gives up truly."""
    ledger, sink = world.ledger, policy.name
    found: list[tuple[str, int, int]] = []
    for stored in (each for those in rows.notices.values() for each in those):
        match notices.decode(stored.body):
            case notices.Damaged(log=log, ranges=ranges):
                found += [(log, a, b) for a, b in ranges if (log, a) in ledger.rotten]
            case notices.Expired(log=log, ranges=ranges, sink=of) if of == sink and _may_expire(policy):
                found += [(log, a, b) for a, b in ranges]
            case notices.SinkJoined(log=log, size=size, sink=of) if of == sink and sink in ledger.joined:
                found.append((log, 0, size))
            case notices.LostBySink(log=log, ranges=ranges, sink=of) if of == sink and sink in ledger.restored:
                found += [(log, a, b) for a, b in ranges]
    return found


def _may_expire(policy: SinkPolicy) -> bool:
    return policy.expiry is not None or policy.may_expire_for_room


def _books(world: World, sink: str, rows: Rows) -> Iterator[tuple[str, list[LogBooks]]]:
    for pod in world.sidecars:
        origins = [origin for origin in world.ledger.logs if origin in rows.held and parse_origin(origin).pod == pod]
        evidence = [
            LogEvidence(rows.held[origin], rows.batches.get(origin, ()), rows.notices.get(origin, ()))
            for origin in origins
        ]
        yield pod, account(evidence, sink)


def _fate(world: World, policy: SinkPolicy, log: LogBooks | None, origin: str, index: int) -> str:
    """Whether what became of a leaf that the sink does not hold is excused, by something that truly happened."""
    ledger = world.ledger
    if origin in ledger.forgotten and policy.name in {*ledger.restored, *ledger.joined}:
        return "excused"
    fate = log.fate_of(index) if log is not None else None
    true = {
        "damaged": any(first <= index for of, first in ledger.rotten if of == origin),
        "expired": _may_expire(policy),
        "lost": policy.name in ledger.restored,
        "unowed": policy.name in ledger.joined,
    }
    if fate is None:
        return "unknown"
    if fate == "unexplained":
        # What explained it is lost with the disk (see `_unexplained`): visible, and a known limit.
        return "excused"
    return "excused" if true.get(fate, False) else fate


def summary(record: Record) -> str:
    """For the trace."""
    return f"{record.pod} {record.places}{'' if record.answered else ' unanswered'}"
