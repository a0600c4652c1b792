"""What a message to a sink must show by itself."""

from meterfabric_protocol.batch import encode_header
from meterfabric_protocol.delivery.credential import bare

from .sink_rig import WALL, Log, Store


def test_a_log_without_a_certificate_is_refused(store: Store, log: Log) -> None:
    (answer,) = store.take(log.batch(0, chain=bare(log.key.public_key())))
    assert (answer.kind, answer.reason) == ("refused", "no-certificate")


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


def test_a_payload_that_a_relay_cut_off_is_not_passed_over(store: Store, log: Log) -> None:
    store.take(log.batch(0))
    log.seal(b'{"id":"1"}')
    (answer,) = store.take(log.batch(1, header=encode_header(log.headers[1].stub()), payload=None))
    assert (answer.kind, answer.reason) == ("refused", "no-permit")


def test_a_permit_for_another_sink_lets_nothing_pass(store: Store, log: Log) -> None:
    store.take(log.batch(0))
    log.seal(b'{"id":"1"}')
    assert store.take(log.stub(1, sinks=["archive"]))[0].reason == "no-permit"
