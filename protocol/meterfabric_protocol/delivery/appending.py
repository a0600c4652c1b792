"""How a sink takes a batch that goes on from the position it holds: what the leaves must prove, and what is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import structs

from meterfabric_protocol import batch as batches
from meterfabric_protocol import checkpoint as checkpoints
from meterfabric_protocol import notice as notices
from meterfabric_protocol.cosignature import cosign
from meterfabric_protocol.delivery.answer import Kind
from meterfabric_protocol.delivery.declined import Declined, Wait
from meterfabric_protocol.delivery.examine import Examiner, Shown
from meterfabric_protocol.delivery.settings import SinkSettings
from meterfabric_protocol.delivery.stored import UNNAMED, Equivocation, Held, LogUpdate, StoredBatch, StoredNotice
from meterfabric_protocol.errors import Malformed
from meterfabric_protocol.identity import cosigner, same_pod
from meterfabric_protocol.merkle import HASH_BYTES, CompactRange


@dataclass(frozen=True)
class Change:
    """What an acceptable message changes: its own log, and the ends of others that it `named`. ``answer`` is the kind
    of answer it gets, None for none."""

    update: LogUpdate
    answer: Kind | None
    named: tuple[LogUpdate, ...] = ()


@dataclass(frozen=True)
class _Leaves:
    """A batch's leaves as far as they came: with a stub come neither payload nor hashes, only `range`."""

    range: CompactRange
    hashes: bytes = b""
    payload: bytes = b""


class Appender:
    """Takes batches."""

    def __init__(self, settings: SinkSettings, key: Ed25519PrivateKey, examiner: Examiner) -> None:
        """``key`` cosigns what is taken."""
        self._settings = settings
        self._key = key
        self._name = cosigner(settings.fabric, settings.name)
        self._examiner = examiner

    def may_have(self, shown: Shown, held: Held) -> None:
        """Whether the log may have this batch: by its certificate, or up to where a later log says that it ended.

        Raises:
            Declined: it may not.
        """
        size = shown.header.size
        if shown.credential.certificate is None and size > max(held.final_size, 0):
            raise Declined("refused", "no-certificate", f"vouched for up to {held.final_size} only")
        if held.final_size != UNNAMED and size > held.final_size:
            raise Declined("refused", "superseded", f"a later log names {held.final_size} as the end of this one")

    def append(self, shown: Shown, held: Held, view: Mapping[str, Held], wall: int, *, as_stub: bool = False) -> Change:
        """The batch goes on from the position ``held``: check its leaves against its checkpoint and take it.

        ``view``: the positions of other logs. ``as_stub``: its records are here already and are not written.

        Raises:
            Declined: the leaves are not the checkpoint's, or it is another than what was heard of this log before.
            Wait: a notice of the batch is about a log that is not in ``view``.
        """
        header, point = shown.header, shown.point
        frontier = CompactRange.decode(0, held.size, held.frontier)
        leaves = self._leaves(shown, wall)
        whole = frontier.extend(leaves.range)
        if whole.root() != point.root:
            # Altered on the way, or the log forked before this batch: the position shows the producer which.
            raise Declined("position", "root", f"the leaves do not lead from {held.size} to the checkpoint's root")
        self._hold_against_head(shown, held, frontier, leaves.hashes, wall)
        if held.final_size == header.size and held.final_root != point.root:
            raise Declined("refused", "superseded", "a later log names another root as the end of this one")
        stub = as_stub or header.kind == "stub"
        stored = StoredBatch(
            held.origin,
            header.first,
            header.size,
            "stub" if stub else header.kind,
            header.of,
            header.note,
            leaves.range.encode(),
            None if stub else cosign(point.text(), self._name, self._key, wall).decode(),
            wall,
            b"" if stub else leaves.payload,
        )
        counted = "stubbed" if stub else header.kind
        changes: dict[str, Any] = {counted: getattr(held, counted) + header.size - header.first}
        bodies: list[bytes] = []
        named: tuple[LogUpdate, ...] = ()
        if counted == "notices":
            bodies = batches.split(leaves.payload, header, self._settings.limits)
            heeded, named = _heed(held, bodies, view)
            changes |= heeded
        if header.size >= held.head_size:
            changes |= {"head_size": header.size, "head_note": header.note}
        after = structs.replace(
            held,
            size=header.size,
            root=point.root,
            frontier=whole.encode(),
            public_key=shown.credential.public_key,
            chain=shown.item.chain,
            **changes,
        )
        certificate = shown.credential.certificate if shown.item.chain != held.chain else None
        told = tuple(StoredNotice(header.first + i, leaf) for i, leaf in enumerate(bodies))
        update = LogUpdate(held.origin, held.size, after, (stored,), told, certificate)
        return Change(update, "passed" if stub else "receipt", named)

    def _leaves(self, shown: Shown, wall: int) -> _Leaves:
        item, header = shown.item, shown.header
        try:
            if header.kind == "stub":
                self._examiner.permitted(item, header, wall)
                return _Leaves(CompactRange.decode(header.first, header.size, header.roots))
            payload = self._examiner.payload(item, header)
            hashes = batches.hash_leaves(payload, header, self._settings.limits)
            return _Leaves(CompactRange.empty(header.first).append(hashes), hashes, payload)
        except Malformed as error:
            raise Declined("refused", "malformed", str(error)) from error

    def _hold_against_head(self, shown: Shown, held: Held, frontier: CompactRange, hashes: bytes, wall: int) -> None:
        """The batch comes to the highest head heard, or past it: that head must have told of this very log."""
        header = shown.header
        if not held.size < held.head_size <= header.size or (header.kind == "stub" and held.head_size < header.size):
            return
        root = shown.point.root
        if held.head_size < header.size:
            upto = CompactRange.empty(header.first).append(hashes[: (held.head_size - header.first) * HASH_BYTES])
            root = frontier.extend(upto).root()
        if root != checkpoints.parse(held.head_note).checkpoint.root:
            raise Declined(
                "conflict",
                "equivocation",
                f"a head heard before has another root at {held.head_size}",
                header.size,
                Equivocation(held.head_size, held.head_note, header.note, wall),
            )


def _heed(
    held: Held, leaves: Sequence[bytes], view: Mapping[str, Held]
) -> tuple[dict[str, Any], tuple[LogUpdate, ...]]:
    """What the notices of a batch that is taken change: in the log's own row, and in those whose ends they name."""
    changes: dict[str, Any] = {}
    named: dict[str, LogUpdate] = {}
    for leaf in leaves:
        try:
            notice = notices.decode(leaf)
        except Malformed:
            # A later release's notice is kept as it is: it is evidence, whatever this release makes of it.
            continue
        if isinstance(notice, notices.Closed) and notice.log == held.origin:
            changes["closed"] = True
        if isinstance(notice, notices.Continues):
            if notice.again:
                end = max(again.at + again.size - again.first for again in notice.again)
                changes["again_to"] = max(held.again_to, changes.get("again_to", 0), end)
            previous = notice.previous
            if previous == held.origin or not same_pod(held.origin, previous):
                continue
            other = view.get(previous)
            if other is None:
                raise Wait(previous)
            if other.final_size == UNNAMED:
                end_named = structs.replace(
                    other, final_size=notice.size, final_root=notice.root, vouched_by=held.origin
                )
                named[previous] = LogUpdate(previous, other.size, end_named)
    return changes, tuple(named.values())
