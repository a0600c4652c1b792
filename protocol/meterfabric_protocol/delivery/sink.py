"""The sink: verify a batch against the position held, decide what a commit writes, answer with a signature.

The worker around it reads positions, commits and sends; this decides. A verdict is made on positions that may be stale
(another worker may have moved them), so a *yes* is only carried out by a commit that compares and sets every position,
and a *no* on a position that was not freshly read is no verdict at all: the item comes back in ``reread``.

A receipt is signed before the commit and released after it. Nothing here ever signs a receipt for a stub.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import structs

from meterfabric_protocol import batch as batches
from meterfabric_protocol import checkpoint as checkpoints
from meterfabric_protocol import notice as notices
from meterfabric_protocol.batch import BatchHeader, decode_header, parse_own_note, unpack
from meterfabric_protocol.checkpoint import Checkpoint
from meterfabric_protocol.cosignature import cosign
from meterfabric_protocol.delivery.answer import Answer, Kind
from meterfabric_protocol.delivery.answer import sign as sign_answer
from meterfabric_protocol.delivery.credential import Credential, NoCredential, judge_credential
from meterfabric_protocol.delivery.permit import judge_permit
from meterfabric_protocol.delivery.stored import (
    UNNAMED,
    Equivocation,
    Held,
    LogUpdate,
    StoredBatch,
    StoredNotice,
)
from meterfabric_protocol.delivery.verdict import Incoming, Original, Question, Verdict
from meterfabric_protocol.errors import Malformed, ProtocolError
from meterfabric_protocol.identity import ChainVerifier, cosigner, parse_origin
from meterfabric_protocol.limits import Limits
from meterfabric_protocol.merkle import EMPTY_ROOT, HASH_BYTES, CompactRange

Decompress: TypeAlias = Callable[[bytes, int], bytes]


@dataclass(frozen=True)
class SinkSettings:
    """Who this sink is: the fabric's name and its own, and the limits it holds batches to."""

    fabric: str
    name: str
    limits: Limits = field(default_factory=Limits)


class _Wait(Exception):
    """Nothing is decided before another log's position is known."""


class _Refusal(Exception):
    def __init__(
        self,
        kind: Kind,
        reason: str = "",
        detail: str = "",
        about: int = 0,
        evidence: Equivocation | None = None,
    ) -> None:
        self.kind: Kind = kind
        self.reason = reason
        self.detail = detail[:1000]
        self.about = about
        self.evidence = evidence


def same_pod(one: str, other: str) -> bool:
    """Whether two origins are logs of one pod. Raises Malformed."""
    a, b = parse_origin(one), parse_origin(other)
    return (a.fabric, a.namespace, a.pod) == (b.fabric, b.namespace, b.pod)


def blank(origin: str) -> Held:
    """The position of a log never seen."""
    return Held(origin, 0, EMPTY_ROOT, b"", 0, 0, 0, 0, b"", False, b"", b"")


class SinkCore:
    """The decisions of one sink worker."""

    def __init__(
        self, settings: SinkSettings, key: Ed25519PrivateKey, verifier: ChainVerifier, decompress: Decompress
    ) -> None:
        """``key`` signs receipts and answers; ``verifier`` judges producers' chains."""
        self.settings = settings
        self.verifier = verifier
        self._key = key
        self._name = cosigner(settings.fabric, settings.name)
        self._decompress = decompress

    def judge(self, items: Sequence[Incoming], held: Mapping[str, Held], fresh: AbstractSet[str], wall: int) -> Verdict:
        """Judge a group in order.

        ``held`` has a position for every origin of the group that the sink knows (others count as blank); those in
        ``fresh`` were read from the store with no commit under way. ``wall``: Unix seconds, the time receipts carry.
        """
        verdict = Verdict()
        view = dict(held)
        for item in items:
            position = view.get(item.origin) or blank(item.origin)
            try:
                change = self._change(item, position, view, verdict, wall, certain=item.origin in fresh)
            except _Wait:
                verdict.reread.append(item)
                continue
            except _Refusal as refusal:
                if item.origin not in fresh or item.origin in verdict.updates:
                    verdict.reread.append(item)
                elif not item.head or item.probe:
                    self._say_no(item, position, refusal, verdict)
                continue
            if change is None:
                continue
            update, kind = change
            self._merge(verdict, view, update)
            if kind is not None:
                stored = update.batches[-1] if update.batches else None
                about = stored.size if stored else 0
                line = stored.cosignature if stored and stored.cosignature else ""
                verdict.answers.append((item, self._answer(item, update.held, kind, about, line)))
        return verdict

    def resolve(self, question: Question, stored: StoredBatch | None, held: Held, wall: int) -> Verdict:
        """Judge what waited for the store: ``stored`` is the batch asked for, ``held`` the log's fresh position."""
        verdict = Verdict()
        item = question.item
        if stored is not None and stored.note == question.note:
            if item.head:
                if item.probe:
                    verdict.answers.append((item, self._answer(item, held, "position", 0)))
            elif stored.cosignature:
                verdict.answers.append((item, self._answer(item, held, "receipt", stored.size, stored.cosignature)))
            else:
                verdict.answers.append((item, self._answer(item, held, "passed", stored.size)))
            return verdict
        if stored is not None or not item.head:
            # One key signed two checkpoints of which one log can hold only one: another root at the same size, or
            # another way to seal the same leaves.
            evidence = Equivocation(question.checkpoint.size, stored.note if stored else b"", question.note, wall)
            verdict.updates[item.origin] = LogUpdate(item.origin, held.size, held, equivocation=evidence)
            refusal = _Refusal("conflict", "equivocation", f"another checkpoint at {question.checkpoint.size} is held")
            if not item.head or item.probe:
                verdict.answers.append((item, self._refuse(item, held, refusal, question.checkpoint.size)))
        elif item.probe:
            verdict.answers.append((item, self._answer(item, held, "position", 0)))
        return verdict

    def repeat(
        self,
        question: Question,
        forked: Original | None,
        stored: StoredBatch | None,
        held: Mapping[str, Held],
        wall: int,
    ) -> Verdict:
        """Judge a batch that repeats ``forked``: where ``stored`` shows that this sink holds that very batch, its
        records are passed over instead of being delivered twice. ``held`` is freshly read, of both logs."""
        item = question.item
        verdict = Verdict()
        position = held.get(item.origin) or blank(item.origin)
        try:
            header = self._header(item)
            credential = self._credential(item, position, wall)
            if header.first != position.size:
                # Another worker, or the same message come twice, was faster.
                raise _Refusal("position")
            self._within(header, position, credential)
            have = (
                forked is not None
                and stored is not None
                and stored.kind == "records"
                and (stored.first, stored.size) == (forked.first, forked.size)
                and checkpoints.parse(stored.note).checkpoint.root == forked.root
            )
            update, kind = self._append(
                item, position, header, question.checkpoint, credential, dict(held), verdict, wall, as_stub=have
            )
        except _Refusal as refusal:
            self._say_no(item, position, refusal, verdict)
            return verdict
        verdict.updates[item.origin] = update
        batch = update.batches[-1]
        verdict.answers.append((item, self._answer(item, update.held, kind, batch.size, batch.cosignature or "")))
        return verdict

    def turn_away(self, item: Incoming, reason: str, detail: str) -> Answer:
        """The refusal of a message that the store won't have, whatever is right about it.

        It tells no position (size 0): where the store refuses, what it holds may be unknown too.
        """
        return self._refuse(item, blank(item.origin), _Refusal("refused", reason, detail))

    def sign(self, answer: Answer) -> tuple[bytes, bytes]:
        """The frames of an answer: body and signature."""
        return sign_answer(answer, self._key)

    # One message

    def _change(
        self, item: Incoming, held: Held, view: dict[str, Held], verdict: Verdict, wall: int, *, certain: bool
    ) -> tuple[LogUpdate, Kind | None] | None:
        """What an acceptable message changes, and the kind of its answer; None where the verdict already says so."""
        if item.probe and (not certain or item.origin in verdict.updates):
            raise _Wait
        header = None if item.head else self._header(item)
        note = item.header if header is None else header.note
        credential = self._credential(item, held, wall)
        point = self._checkpoint(note, item.origin, credential)
        if header is None:
            return self._head(item, held, point, credential, verdict)
        if point.first != header.first or point.size != header.size:
            raise _Refusal("refused", "malformed", f"header says [{header.first}, {header.size}), its checkpoint not")
        if header.first > held.size:
            raise _Refusal("position")
        if header.first < held.size:
            if item.origin in verdict.updates:
                verdict.reread.append(item)
            else:
                verdict.questions.append(Question(item, point, header.note))
            return None
        self._within(header, held, credential)
        if header.kind == "records" and header.first < held.again_to:
            if item.origin in verdict.updates:
                verdict.reread.append(item)
            else:
                verdict.questions.append(Question(item, point, header.note, again=True))
            return None
        return self._append(item, held, header, point, credential, view, verdict, wall)

    def _within(self, header: BatchHeader, held: Held, credential: Credential) -> None:
        """Whether the log may have this batch: by its certificate, or up to where a later log says that it ended."""
        if credential.certificate is None and header.size > max(held.final_size, 0):
            raise _Refusal("refused", "no-certificate", f"vouched for up to {held.final_size} only")
        if held.final_size != UNNAMED and header.size > held.final_size:
            raise _Refusal("refused", "superseded", f"a later log names {held.final_size} as the end of this one")

    def _append(
        self,
        item: Incoming,
        held: Held,
        header: BatchHeader,
        point: Checkpoint,
        credential: Credential,
        view: Mapping[str, Held],
        verdict: Verdict,
        wall: int,
        *,
        as_stub: bool = False,
    ) -> tuple[LogUpdate, Kind]:
        """The batch goes on from the position: check its leaves against its checkpoint and take it."""
        frontier = CompactRange.decode(0, held.size, held.frontier)
        hashes = payload = b""
        try:
            if header.kind == "stub":
                self._permitted(item, header, wall)
                batch = CompactRange.decode(header.first, header.size, header.roots)
            else:
                payload = self._payload(item, header)
                hashes = batches.hash_leaves(payload, header, self.settings.limits)
                batch = CompactRange.empty(header.first).append(hashes)
        except Malformed as error:
            raise _Refusal("refused", "malformed", str(error)) from error
        whole = frontier.extend(batch)
        if whole.root() != point.root:
            # Altered on the way, or the log forked before this batch: the position shows the producer which.
            raise _Refusal("position", "root", f"the leaves do not lead from {held.size} to the checkpoint's root")
        self._hold_against_head(held, frontier, hashes, header, point, wall)
        if held.final_size == header.size and held.final_root != point.root:
            raise _Refusal("refused", "superseded", "a later log names another root as the end of this one")
        stub = as_stub or header.kind == "stub"
        stored = StoredBatch(
            item.origin,
            header.first,
            header.size,
            "stub" if stub else header.kind,
            header.of,
            header.note,
            batch.encode(),
            None if stub else cosign(point.text(), self._name, self._key, wall).decode(),
            wall,
            b"" if stub else payload,
        )
        count = header.size - header.first
        counted = "stubbed" if stub else header.kind
        changes: dict[str, Any] = {counted: getattr(held, counted) + count}
        bodies: tuple[StoredNotice, ...] = ()
        if counted == "notices":
            leaves = batches.split(payload, header, self.settings.limits)
            bodies = tuple(StoredNotice(header.first + i, leaf) for i, leaf in enumerate(leaves))
            changes |= self._heed(item, held, leaves, view, verdict)
        if header.size >= held.head_size:
            changes |= {"head_size": header.size, "head_note": header.note}
        after = structs.replace(
            held,
            size=header.size,
            root=point.root,
            frontier=whole.encode(),
            public_key=credential.public_key,
            chain=item.chain,
            **changes,
        )
        certificate = credential.certificate if item.chain != held.chain else None
        update = LogUpdate(item.origin, held.size, after, (stored,), bodies, certificate)
        return update, "passed" if stub else "receipt"

    def _hold_against_head(
        self,
        held: Held,
        frontier: CompactRange,
        hashes: bytes,
        header: BatchHeader,
        point: Checkpoint,
        wall: int,
    ) -> None:
        """The batch comes to the highest head heard, or past it: that head must have told of this very log."""
        if not held.size < held.head_size <= header.size or (header.kind == "stub" and held.head_size < header.size):
            return
        root = point.root
        if held.head_size < header.size:
            upto = CompactRange.empty(header.first).append(hashes[: (held.head_size - header.first) * HASH_BYTES])
            root = frontier.extend(upto).root()
        if root != checkpoints.parse(held.head_note).checkpoint.root:
            raise _Refusal(
                "conflict",
                "equivocation",
                f"a head heard before has another root at {held.head_size}",
                header.size,
                Equivocation(held.head_size, held.head_note, header.note, wall),
            )

    def _heed(
        self,
        item: Incoming,
        held: Held,
        leaves: Sequence[bytes],
        view: Mapping[str, Held],
        verdict: Verdict,
    ) -> dict[str, Any]:
        """Act on the notices of a batch about to be taken; returns what they change in the log's own row."""
        changes: dict[str, Any] = {}
        for leaf in leaves:
            try:
                notice = notices.decode(leaf)
            except Malformed:
                # A later release's notice is kept as it is: it is evidence, whatever this release makes of it.
                continue
            if isinstance(notice, notices.Closed) and notice.log == item.origin:
                changes["closed"] = True
            if isinstance(notice, notices.Continues):
                if notice.again:
                    end = max(again.at + again.size - again.first for again in notice.again)
                    changes["again_to"] = max(held.again_to, changes.get("again_to", 0), end)
                previous = notice.previous
                if previous == item.origin or not same_pod(item.origin, previous):
                    continue
                other = view.get(previous)
                if other is None:
                    verdict.missing.add(previous)
                    raise _Wait
                if other.final_size == UNNAMED:
                    named = structs.replace(
                        other, final_size=notice.size, final_root=notice.root, vouched_by=item.origin
                    )
                    self._merge(verdict, None, LogUpdate(previous, other.size, named))
        return changes

    def _head(
        self, item: Incoming, held: Held, point: Checkpoint, credential: Credential, verdict: Verdict
    ) -> tuple[LogUpdate, Kind | None] | None:
        if point.size < held.size or (point.size == held.size and point.root != held.root):
            verdict.questions.append(Question(item, point, item.header))
            return None
        if point.size > held.head_size:
            after = structs.replace(
                held,
                head_size=point.size,
                head_note=item.header,
                public_key=credential.public_key,
                chain=item.chain,
            )
            certificate = credential.certificate if item.chain != held.chain else None
            return LogUpdate(item.origin, held.size, after, certificate=certificate), "position" if item.probe else None
        if item.probe:
            raise _Refusal("position")
        return None

    # Parts

    def _header(self, item: Incoming) -> BatchHeader:
        try:
            header = decode_header(item.header, self.settings.limits)
        except ProtocolError as error:
            raise _Refusal("refused", "malformed", str(error)) from error
        if header.origin != item.origin:
            raise _Refusal("refused", "malformed", f"the envelope says {item.origin}, the header {header.origin}")
        return header

    def _credential(self, item: Incoming, held: Held, wall: int) -> Credential:
        try:
            return judge_credential(
                item.chain,
                item.origin,
                self.verifier,
                datetime.fromtimestamp(wall, UTC),
                self.settings.fabric,
                vouched=held.final_size != UNNAMED,
            )
        except NoCredential as error:
            raise _Refusal("refused", error.reason, str(error)) from error

    def _checkpoint(self, note: bytes, origin: str, credential: Credential) -> Checkpoint:
        try:
            signed = parse_own_note(note, origin, self.settings.limits)
            return checkpoints.authenticate(signed, origin, credential.public_key)
        except ProtocolError as error:
            raise _Refusal("refused", "checkpoint", str(error)) from error

    def _permitted(self, item: Incoming, stub: BatchHeader, wall: int) -> None:
        """A relay may have cut off a payload: only the pod's own word lets a batch be passed over."""
        at, settings = datetime.fromtimestamp(wall, UTC), self.settings
        try:
            judge_permit(bytes(item.payload or b""), stub, settings.name, self.verifier, at, settings.fabric)
        except ProtocolError as error:
            raise _Refusal("refused", "no-permit", str(error)) from error

    def _payload(self, item: Incoming, header: BatchHeader) -> bytes:
        if item.payload is None:
            raise Malformed("batch", f"{header.kind} without a payload")
        return unpack(bytes(item.payload), header, self._decompress)

    def _merge(self, verdict: Verdict, view: dict[str, Held] | None, update: LogUpdate) -> None:
        """Put one more change of a log behind those the verdict already holds, so that a commit has one a log."""
        earlier = verdict.updates.get(update.origin)
        if earlier is not None:
            update = LogUpdate(
                update.origin,
                earlier.expected_size,
                update.held,
                earlier.batches + update.batches,
                earlier.notices + update.notices,
                update.certificate or earlier.certificate,
                update.equivocation or earlier.equivocation,
            )
        verdict.updates[update.origin] = update
        if view is not None:
            view[update.origin] = update.held
            for origin, other in verdict.updates.items():
                view[origin] = other.held

    def _answer(self, item: Incoming, held: Held, kind: Kind, about: int, cosignature: str = "") -> Answer:
        return Answer(
            self.settings.name, item.origin, item.nonce, item.epoch, kind, about, held.size, held.root, cosignature
        )

    def _say_no(self, item: Incoming, held: Held, refusal: _Refusal, verdict: Verdict) -> None:
        if refusal.evidence is not None:
            verdict.updates[item.origin] = LogUpdate(item.origin, held.size, held, equivocation=refusal.evidence)
        verdict.answers.append((item, self._refuse(item, held, refusal, refusal.about)))

    def _refuse(self, item: Incoming, held: Held, refusal: _Refusal, about: int = 0) -> Answer:
        return Answer(
            self.settings.name,
            item.origin,
            item.nonce,
            item.epoch,
            refusal.kind,
            about,
            held.size,
            held.root,
            "",
            refusal.reason,
            refusal.detail,
        )
