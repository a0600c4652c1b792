"""The sink: what it takes, what it says, and what it never signs."""

from collections.abc import Sequence
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_protocol import batch as batches
from meterfabric_protocol import cosignature, notice
from meterfabric_protocol.batch import BatchHeader, Content, encode_header
from meterfabric_protocol.delivery.answer import Answer
from meterfabric_protocol.delivery.credential import bare
from meterfabric_protocol.delivery.permit import sign_permit
from meterfabric_protocol.delivery.settings import SinkSettings
from meterfabric_protocol.delivery.sink import SinkCore
from meterfabric_protocol.delivery.stored import Held, StoredBatch, blank
from meterfabric_protocol.delivery.verdict import Incoming, Verdict, original
from meterfabric_protocol.errors import Malformed
from meterfabric_protocol.identity import ChainVerifier, TrustBundle, cosigner, origin
from meterfabric_protocol.merkle import CompactRange, leaf_hash, leaf_hashes
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


@pytest.fixture
def log() -> Log:
    log = Log()
    log.seal(notice.encode(notice.Opened(log=log.origin)))
    return log


@pytest.fixture
def store() -> Store:
    return Store()


def test_a_batch_at_the_position_is_taken_and_receipted(store: Store, log: Log) -> None:
    (answer,) = store.take(log.batch(0))
    assert (answer.kind, answer.about, answer.size, answer.nonce, answer.epoch) == ("receipt", 1, 1, NONCE, 5)
    assert answer.root == log.frontier.root()
    text = batches.parse_own_note(log.headers[0].note, log.origin).text
    name = cosigner(FABRIC, "billing")
    assert cosignature.verify(text, answer.cosignature.encode(), name, raw(SINK_KEY)) == WALL


def test_several_batches_of_a_group_make_one_commit(store: Store, log: Log) -> None:
    items = [log.batch(0), log.seal(b'{"id":"1"}'), log.seal(b'{"id":"2"}')]
    verdict = store.judge(*items)
    assert [(b.first, b.size) for b in verdict.updates[log.origin].batches] == [(0, 1), (1, 2), (2, 3)]
    assert [answer.kind for _, answer in verdict.answers] == ["receipt"] * 3


def test_a_batch_beyond_the_position_is_answered_with_it(store: Store, log: Log) -> None:
    (answer,) = store.take(log.seal(b'{"id":"1"}'))
    assert (answer.kind, answer.size) == ("position", 0)


def test_no_is_never_said_on_a_position_that_may_be_stale(store: Store, log: Log) -> None:
    verdict = store.judge(log.seal(b'{"id":"1"}'), fresh=False)
    assert (verdict.answers, len(verdict.reread)) == ([], 1)


def test_a_batch_before_the_position_gets_the_same_receipt_again(store: Store, log: Log) -> None:
    (first,) = store.take(log.batch(0))
    store.take(log.seal(b'{"id":"1"}'))
    (again,) = store.take(log.batch(0))
    assert (again.kind, again.cosignature, again.size) == ("receipt", first.cosignature, 2)


@pytest.mark.parametrize("at", [0, 5, -3])
def test_an_altered_payload_is_not_taken(store: Store, log: Log, at: int) -> None:
    store.take(log.batch(0))
    payload = bytearray(log.seal(b'{"id":"1"}').payload or b"")
    payload[at] ^= 1
    (answer,) = store.take(log.batch(-1, payload=bytes(payload)))
    assert answer.kind in ("position", "refused")
    assert store.held[log.origin].size == 1


def test_a_stub_is_passed_over_and_never_receipted(store: Store, log: Log) -> None:
    store.take(log.batch(0))
    log.seal(b'{"id":"1"}')
    (answer,) = store.take(log.stub(1))
    assert (answer.kind, answer.cosignature, answer.size) == ("passed", "", 2)
    assert store.held[log.origin].stubbed == 1
    assert store.take(log.batch(1))[0].kind == "passed"


def test_the_log_goes_on_after_a_stub(store: Store, log: Log) -> None:
    log.seal(b'{"id":"1"}', b'{"id":"2"}')
    store.take(log.batch(0), log.stub(1))
    (answer,) = store.take(log.seal(b'{"id":"3"}'))
    assert (answer.kind, answer.size) == ("receipt", 4)


def test_a_payload_that_a_relay_cut_off_is_not_passed_over(store: Store, log: Log) -> None:
    store.take(log.batch(0))
    log.seal(b'{"id":"1"}')
    (answer,) = store.take(log.batch(1, header=encode_header(log.headers[1].stub()), payload=None))
    assert (answer.kind, answer.reason) == ("refused", "no-permit")


def test_a_permit_for_another_sink_lets_nothing_pass(store: Store, log: Log) -> None:
    store.take(log.batch(0))
    log.seal(b'{"id":"1"}')
    assert store.take(log.stub(1, sinks=["archive"]))[0].reason == "no-permit"


def test_another_checkpoint_at_a_size_that_is_held_is_a_conflict_and_kept(store: Store, log: Log) -> None:
    fork = Log()
    fork.key, fork.origin, fork.chain = log.key, log.origin, log.chain
    fork.seal(notice.encode(notice.Opened(log=log.origin)))
    store.take(log.batch(0), log.seal(b'{"id":"1"}'))
    fork.seal(b'{"id":"2"}')
    verdict = store.judge(fork.batch(1))
    answered = store.core.resolve(verdict.questions[0], store.batches[log.origin, 2], store.held[log.origin], WALL)
    assert [(a.kind, a.about, a.size) for _, a in answered.answers] == [("conflict", 2, 2)]
    evidence = answered.updates[log.origin].equivocation
    assert evidence is not None
    assert (evidence.note_held, evidence.note_seen) == (log.headers[1].note, fork.headers[1].note)


def test_a_head_is_kept_and_a_probe_is_answered_with_the_position(store: Store, log: Log) -> None:
    store.take(log.batch(0))
    log.seal(b'{"id":"1"}')
    (answer,) = store.take(log.head())
    assert (answer.kind, answer.size) == ("position", 1)
    assert store.held[log.origin].head_size == 2
    assert store.take(log.head(0, probe=False)) == []
    assert store.held[log.origin].head_size == 2


def test_a_log_without_a_certificate_is_refused(store: Store, log: Log) -> None:
    (answer,) = store.take(log.batch(0, chain=bare(log.key.public_key())))
    assert (answer.kind, answer.reason) == ("refused", "no-certificate")


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


def test_a_dead_log_is_taken_up_to_where_a_later_one_says_it_ended(store: Store, log: Log) -> None:
    dead = bare(log.key.public_key())
    log.seal(b'{"id":"1"}')
    later = continues(log)
    log.seal(b'{"id":"2"}')
    store.take(later.batch(0))
    assert [answer.kind for answer in store.take(log.batch(0, chain=dead), log.batch(1, chain=dead))] == ["receipt"] * 2
    assert store.take(log.batch(2, chain=dead))[0].reason == "no-certificate"
    assert store.take(log.batch(2))[0].reason == "superseded"


def test_a_batch_that_must_wait_for_one_log_ends_no_other(store: Store, log: Log) -> None:
    store.take(log.batch(0))
    unheard, later = Log(), Log()
    said = [
        notice.Continues(log=later.origin, previous=each.origin, size=0, root=leaf_hash(b""), reason="restart")
        for each in (log, unheard)
    ]
    verdict = store.judge(later.seal(*map(notice.encode, said)))
    assert (verdict.updates, verdict.missing, len(verdict.reread)) == ({}, {unheard.origin}, 1)


def test_another_pods_word_ends_no_log(store: Store, log: Log) -> None:
    later = continues(log)
    other = origin(FABRIC, "shop", "web-1", raw(Ed25519PrivateKey.generate()))
    said = notice.Continues(log=later.origin, previous=other, size=0, root=leaf_hash(b""), reason="restart")
    later.seal(notice.encode(said))
    store.take(later.batch(0), later.batch(1))
    assert other not in store.held


def test_a_repeated_batch_is_passed_over_only_where_its_original_is_held(log: Log) -> None:
    log.seal(b'{"id":"1"}')
    log.seal(b'{"id":"2"}')
    again = tuple(
        notice.Again(
            header.first, header.size, header.first, batches.parse_own_note(header.note, log.origin).checkpoint.root
        )
        for header in log.headers[1:]
    )
    later = continues(log, size=1, again=again)
    repeats = [later.seal(b'{"id":"1"}'), later.seal(b'{"id":"2"}')]
    store = Store()
    store.take(log.batch(0), log.batch(1))
    store.take(later.batch(0))
    assert [store.take(item)[0].kind for item in repeats] == ["passed", "receipt"]
    assert store.take(repeats[0])[0].kind == "passed"


def test_a_repeat_judged_on_a_position_that_moved_is_answered_with_the_new_one(log: Log) -> None:
    log.seal(b'{"id":"1"}')
    root = batches.parse_own_note(log.headers[1].note, log.origin).checkpoint.root
    later = continues(log, size=1, again=(notice.Again(1, 2, 1, root),))
    item = later.seal(b'{"id":"1"}')
    store = Store()
    store.take(later.batch(0))
    question = store.judge(item).questions[0]
    store.take(item)
    ((_, answer),) = store.core.repeat(question, None, None, store.held, WALL).answers
    assert (answer.kind, answer.size) == ("position", 2)


def test_closed_is_remembered(store: Store, log: Log) -> None:
    store.take(log.batch(0), log.seal(notice.encode(notice.Closed(log=log.origin, records=0))))
    assert store.held[log.origin].closed


def test_a_lapsed_certificate_is_judged_when_the_sink_signs(store: Store, log: Log) -> None:
    verdict = store.core.judge([log.batch(0)], {}, {log.origin}, WALL + 5 * 86_400)
    assert [(answer.kind, answer.reason) for _, answer in verdict.answers] == [("refused", "expired")]


def test_what_is_no_header_is_refused(store: Store, log: Log) -> None:
    (answer,) = store.take(log.batch(0, header=b"MFB\x01nonsense"))
    assert (answer.kind, answer.reason) == ("refused", "malformed")


def test_a_header_of_another_log_is_refused(store: Store, log: Log) -> None:
    other = Log()
    other.seal(b'{"id":"1"}')
    (answer,) = store.take(log.batch(0, header=encode_header(other.headers[0]), payload=other.payloads[0]))
    assert (answer.kind, answer.reason) == ("refused", "malformed")


@pytest.mark.parametrize("later", [0, 1, 2])
def test_a_batch_that_belies_a_head_heard_before_is_a_conflict(store: Store, log: Log, later: int) -> None:
    store.take(log.batch(0))
    log.seal(b'{"id":"1"}', b'{"id":"2"}')
    store.take(log.head())
    fork = Log()
    fork.key, fork.origin, fork.chain = log.key, log.origin, log.chain
    fork.seal(notice.encode(notice.Opened(log=log.origin)))
    (answer,) = store.take(fork.seal(*(b'{"id":"other %d"}' % number for number in range(2 + later))))
    assert (answer.kind, answer.about, answer.size) == ("conflict", 3 + later, 1)


def test_a_head_that_a_batch_passes_is_no_conflict_where_both_are_of_one_log(store: Store, log: Log) -> None:
    store.take(log.batch(0))
    log.seal(b'{"id":"1"}', b'{"id":"2"}')
    store.take(log.head())
    whole = Log()
    whole.key, whole.origin, whole.chain = log.key, log.origin, log.chain
    whole.seal(notice.encode(notice.Opened(log=log.origin)))
    (answer,) = store.take(whole.seal(b'{"id":"1"}', b'{"id":"2"}', b'{"id":"3"}'))
    assert (answer.kind, answer.size) == ("receipt", 4)
