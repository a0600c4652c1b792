"""What a sink says of a message, and when it says nothing yet."""

from meterfabric_protocol import batch as batches
from meterfabric_protocol import notice

from .sink_rig import WALL, Log, Store, continues


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
