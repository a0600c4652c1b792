"""The sink: judge messages against the positions held, decide what a commit writes, answer with a signature.

The worker around it reads positions, commits and sends; this decides. A verdict is made on positions that may be stale
(another worker may have moved them), so a *yes* is only carried out by a commit that compares and sets every position,
and a *no* on a position that was not freshly read is no verdict at all: the item comes back in ``reread``.

What a message shows by itself is `examine.Examiner`'s, what taking a batch writes `appending.Appender`'s. A receipt is
signed before the commit and released after it. Nothing here ever signs a receipt for a stub.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import structs

from meterfabric_protocol import checkpoint as checkpoints
from meterfabric_protocol.batch import Decompress
from meterfabric_protocol.checkpoint import Checkpoint
from meterfabric_protocol.delivery.answer import Answer, Kind
from meterfabric_protocol.delivery.answer import sign as sign_answer
from meterfabric_protocol.delivery.appending import Appender, Change
from meterfabric_protocol.delivery.credential import Credential
from meterfabric_protocol.delivery.declined import Declined, Wait
from meterfabric_protocol.delivery.examine import Examiner, Shown
from meterfabric_protocol.delivery.settings import SinkSettings
from meterfabric_protocol.delivery.stored import Equivocation, Held, LogUpdate, StoredBatch, blank
from meterfabric_protocol.delivery.verdict import Incoming, Original, Question, Verdict
from meterfabric_protocol.identity import ChainVerifier


class SinkCore:
    """The decisions of one sink worker."""

    def __init__(
        self, settings: SinkSettings, key: Ed25519PrivateKey, verifier: ChainVerifier, decompress: Decompress
    ) -> None:
        """``key`` signs receipts and answers; ``verifier`` judges producers' chains."""
        self.settings = settings
        self._key = key
        self._examiner = Examiner(settings, verifier, decompress)
        self._appender = Appender(settings, key, self._examiner)

    def trust(self, verifier: ChainVerifier) -> None:
        """Judge producers' chains by this verifier from now on."""
        self._examiner.verifier = verifier

    def judge(self, items: Sequence[Incoming], held: Mapping[str, Held], fresh: AbstractSet[str], wall: int) -> Verdict:
        """Judge a group in order.

        ``held`` has a position for every origin of the group that the sink knows (others count as blank); those in
        ``fresh`` were read from the store with no commit under way. ``wall``: Unix seconds, the time receipts carry.
        """
        verdict = Verdict()
        view = dict(held)
        for item in items:
            position = view.get(item.origin) or blank(item.origin)
            certain = item.origin in fresh and item.origin not in verdict.updates
            try:
                change = self._change(item, position, view, wall, certain=certain)
            except Wait as wait:
                verdict.reread.append(item)
                if wait.missing is not None:
                    verdict.missing.add(wait.missing)
            except Declined as declined:
                if not certain:
                    verdict.reread.append(item)
                elif not item.head or item.probe:
                    self._say_no(item, position, declined, verdict)
            else:
                if isinstance(change, Question) and not item.head and item.origin in verdict.updates:
                    # The store can tell no more than the commit that comes first.
                    verdict.reread.append(item)
                elif isinstance(change, Question):
                    verdict.questions.append(change)
                elif change is not None:
                    for update in (*change.named, change.update):
                        verdict.merge(update)
                        view[update.origin] = update.held
                    self._say_yes(item, change, verdict)
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
            size = question.checkpoint.size
            evidence = Equivocation(size, stored.note if stored else b"", question.note, wall)
            verdict.updates[item.origin] = LogUpdate(item.origin, held.size, held, equivocation=evidence)
            if not item.head or item.probe:
                declined = Declined("conflict", "equivocation", f"another checkpoint at {size} is held", size)
                verdict.answers.append((item, self._refuse(item, held, declined)))
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
            header = self._examiner.header(item)
            shown = Shown(item, header, question.checkpoint, self._examiner.credential(item, position, wall))
            if header.first != position.size:
                # Another worker, or the same message come twice, was faster.
                raise Declined("position")
            self._appender.may_have(shown, position)
            have = (
                forked is not None
                and stored is not None
                and stored.kind == "records"
                and (stored.first, stored.size) == (forked.first, forked.size)
                and checkpoints.parse(stored.note).checkpoint.root == forked.root
            )
            change = self._appender.append(shown, position, held, wall, as_stub=have)
        except Declined as declined:
            self._say_no(item, position, declined, verdict)
        else:
            verdict.merge(change.update)
            self._say_yes(item, change, verdict)
        return verdict

    def turn_away(self, item: Incoming, reason: str, detail: str) -> Answer:
        """The declined of a message that the store won't have, whatever is right about it.

        It tells no position (size 0): where the store refuses, what it holds may be unknown too.
        """
        return self._refuse(item, blank(item.origin), Declined("refused", reason, detail))

    def sign(self, answer: Answer) -> tuple[bytes, bytes]:
        """The frames of an answer: body and signature."""
        return sign_answer(answer, self._key)

    # One message

    def _change(
        self, item: Incoming, held: Held, view: Mapping[str, Held], wall: int, *, certain: bool
    ) -> Change | Question | None:
        """What an acceptable message changes, or what the store must be asked first; None for nothing at all."""
        if item.probe and not certain:
            raise Wait
        header = None if item.head else self._examiner.header(item)
        note = item.header if header is None else header.note
        credential = self._examiner.credential(item, held, wall)
        point = self._examiner.checkpoint(note, item.origin, credential)
        if header is None:
            return self._head(item, held, point, credential)
        if point.first != header.first or point.size != header.size:
            raise Declined("refused", "malformed", f"header says [{header.first}, {header.size}), its checkpoint not")
        if header.first > held.size:
            raise Declined("position")
        if header.first < held.size:
            return Question(item, point, header.note)
        shown = Shown(item, header, point, credential)
        self._appender.may_have(shown, held)
        if header.kind == "records" and header.first < held.again_to:
            return Question(item, point, header.note, again=True)
        return self._appender.append(shown, held, view, wall)

    def _head(self, item: Incoming, held: Held, point: Checkpoint, credential: Credential) -> Change | Question | None:
        if point.size < held.size or (point.size == held.size and point.root != held.root):
            return Question(item, point, item.header)
        if point.size > held.head_size:
            after = structs.replace(
                held,
                head_size=point.size,
                head_note=item.header,
                public_key=credential.public_key,
                chain=item.chain,
            )
            certificate = credential.certificate if item.chain != held.chain else None
            update = LogUpdate(item.origin, held.size, after, certificate=certificate)
            return Change(update, "position" if item.probe else None)
        if item.probe:
            raise Declined("position")
        return None

    # Answers

    def _say_yes(self, item: Incoming, change: Change, verdict: Verdict) -> None:
        if change.answer is not None:
            batch = change.update.batches[-1] if change.update.batches else None
            about, line = (batch.size, batch.cosignature or "") if batch else (0, "")
            verdict.answers.append((item, self._answer(item, change.update.held, change.answer, about, line)))

    def _say_no(self, item: Incoming, held: Held, declined: Declined, verdict: Verdict) -> None:
        if declined.evidence is not None:
            verdict.updates[item.origin] = LogUpdate(item.origin, held.size, held, equivocation=declined.evidence)
        verdict.answers.append((item, self._refuse(item, held, declined)))

    def _answer(self, item: Incoming, held: Held, kind: Kind, about: int, cosignature: str = "") -> Answer:
        return Answer(
            self.settings.name, item.origin, item.nonce, item.epoch, kind, about, held.size, held.root, cosignature
        )

    def _refuse(self, item: Incoming, held: Held, declined: Declined) -> Answer:
        answer = self._answer(item, held, declined.kind, declined.about)
        return structs.replace(answer, reason=declined.reason, detail=declined.detail)
