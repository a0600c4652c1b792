"""What a sink takes, what it writes, and what it never signs."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_protocol import batch as batches
from meterfabric_protocol import cosignature, notice
from meterfabric_protocol.delivery.credential import bare
from meterfabric_protocol.identity import cosigner, origin
from meterfabric_protocol.merkle import leaf_hash
from tests.pki import FABRIC, raw

from .sink_rig import NONCE, SINK_KEY, WALL, Log, Store, continues


def test_a_batch_at_the_position_is_taken_and_receipted(store: Store, log: Log) -> None:
    (answer,) = store.take(log.batch(0))
    assert (answer.kind, answer.about, answer.size, answer.nonce, answer.epoch) == ("receipt", 1, 1, NONCE, 5)
    assert answer.root == log.frontier.root()
    text = batches.parse_own_note(log.headers[0].note, log.origin).text
    name = cosigner(FABRIC, "billing")
    assert cosignature.verify(text, answer.cosignature.encode(), name, raw(SINK_KEY)) == WALL


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


def test_closed_is_remembered(store: Store, log: Log) -> None:
    store.take(log.batch(0), log.seal(notice.encode(notice.Closed(log=log.origin, records=0))))
    assert store.held[log.origin].closed


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
