"""The relay: who has a session, what it holds, where it goes."""

from typing import Any

import pytest

from meterfabric_protocol import message as m
from meterfabric_protocol.delivery.relay import RelayCore
from meterfabric_protocol.delivery.relayed import Effect, End, Send
from meterfabric_protocol.delivery.settings import RelaySettings
from meterfabric_protocol.hello import Hello, HelloBody, HelloError
from meterfabric_protocol.identity import Identity, Producer, Sink, cosigner, origin
from tests.pki import FABRIC, NOW, TRUST_DOMAIN

LOG = origin(FABRIC, "shop", "web-0", bytes(32))
FRAMES = (b"chain", b"header", b"payload")
COST = m.cost_of(FRAMES)


def hello(user: str, kind: str) -> Hello:
    nonce = user.encode().ljust(16)
    if kind == "producer":
        subject: Producer | Sink = Producer(TRUST_DOMAIN, FABRIC, "shop", "web", "web-0", "uid")
        body = HelloBody(1, "producer", LOG, bytes(32), bytes(32), nonce, "", 0, 0)
    else:
        subject = Sink(TRUST_DOMAIN, FABRIC, kind)
        body = HelloBody(1, "sink", cosigner(FABRIC, kind), bytes(32), bytes(32), nonce, user, 2 * COST, 0)
    return Hello(Identity(subject, bytes(32), NOW, NOW), body)


class Fabric:
    """A relay and peers that are whatever their names begin with: `producer-1`, `billing-1`."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("max_message", 2_000)
        self.core = RelayCore(RelaySettings(name="relay-0", **settings), self._verify)
        self.now = 0.0

    def _verify(self, user: str, body: bytes, signature: bytes, chain: bytes) -> Hello:
        if signature != b"good":
            raise HelloError("bad-signature", "no")
        return hello(user, user.split("-", maxsplit=1)[0])

    def hello(self, user: str) -> list[Effect]:
        return self.core.received(user, m.Hello(), (b"", b"good", b"chain of " + user.encode()), self.now)

    def send(self, user: str, message: m.Message, frames: m.Frames = ()) -> list[Effect]:
        return self.core.received(user, message, frames, self.now)

    def grant(self, user: str, sink: str, total: int) -> list[Effect]:
        return self.send(user, m.Want({sink: m.Wish(COST, total)}))

    def batch(self, user: str, *sinks: str, epoch: int = 1) -> list[Effect]:
        return self.send(user, m.Batch(LOG, tuple(m.Target(sink, epoch) for sink in sinks)), FRAMES)


@pytest.fixture
def fabric() -> Fabric:
    fabric = Fabric()
    fabric.hello("billing-0")
    fabric.hello("producer-1")
    return fabric


def messages(effects: list[Effect], user: str) -> list[m.Message]:
    return [effect.message for effect in effects if isinstance(effect, Send) and effect.user == user]


def test_without_hello_nothing_is_served() -> None:
    effects = Fabric().batch("producer-1", "billing")
    assert isinstance(messages(effects, "producer-1")[0], m.Refused)
    assert effects[-1] == End("producer-1")


def test_a_hello_that_does_not_verify_opens_no_session() -> None:
    fabric = Fabric()
    effects = fabric.core.received("producer-1", m.Hello(), (b"", b"bad", b""), 0.0)
    assert messages(effects, "producer-1") == [m.Refused("bad-signature", "bad-signature: no")]
    assert fabric.core.sessions == 0


def test_a_producer_is_told_of_the_sinks_there_are_and_of_those_that_come(fabric: Fabric) -> None:
    assert messages(fabric.hello("producer-2"), "producer-2")[1] == m.Sinks({"billing": (b"chain of billing-0",)})
    told = messages(fabric.hello("archive-0"), "producer-1")
    assert told == [m.Sinks({"archive": (b"chain of archive-0",), "billing": (b"chain of billing-0",)})]


def test_a_producer_that_asks_is_told_again(fabric: Fabric) -> None:
    assert messages(fabric.send("producer-1", m.Want({})), "producer-1") == [
        m.Sinks({"billing": (b"chain of billing-0",)})
    ]


def test_a_batch_goes_to_one_worker_of_each_sink_and_its_answer_back(fabric: Fabric) -> None:
    fabric.hello("billing-1")
    fabric.hello("archive-0")
    fabric.grant("producer-1", "billing", COST)
    fabric.grant("producer-1", "archive", COST)
    effects = fabric.batch("producer-1", "billing", "archive", epoch=7)
    delivered = [e for e in effects if isinstance(e, Send) and isinstance(e.message, m.Deliver)]
    assert len(delivered) == 2
    assert {e.user.split("-", maxsplit=1)[0] for e in delivered} == {"billing", "archive"}
    to = delivered[0]
    assert isinstance(to.message, m.Deliver)
    assert (to.message.epoch, to.message.nonce, to.frames) == (7, b"producer-1".ljust(16), FRAMES)
    answered = fabric.send(to.user, m.Reply(to.message.seq), (b"body", b"signature"))
    assert Send("producer-1", m.Answered("billing", LOG), (b"body", b"signature")) in answered


def test_without_credit_the_session_ends(fabric: Fabric) -> None:
    effects = fabric.batch("producer-1", "billing")
    assert isinstance(messages(effects, "producer-1")[0], m.Refused)
    assert fabric.core.producers == 0


def test_a_message_too_large_ends_the_session(fabric: Fabric) -> None:
    fabric.send("producer-1", m.Want({"billing": m.Wish(1, 100_000)}))
    effects = fabric.send("producer-1", m.Batch(LOG, (m.Target("billing", 1),)), (b"", b"", bytes(3_000)))
    refused = messages(effects, "producer-1")[0]
    assert isinstance(refused, m.Refused)
    assert refused.reason == "too-large"


def test_a_lost_grant_is_said_again(fabric: Fabric) -> None:
    assert messages(fabric.grant("producer-1", "billing", 900), "producer-1") == [m.Grant("billing", 900)]
    assert messages(fabric.grant("producer-1", "billing", 900), "producer-1") == [m.Grant("billing", 900)]


def test_a_worker_is_sent_no_more_than_its_window(fabric: Fabric) -> None:
    fabric.core = RelayCore(RelaySettings(name="relay-0", max_message=COST), fabric._verify)
    fabric.hello("billing-0")
    fabric.hello("producer-1")
    fabric.grant("producer-1", "billing", 5 * COST)
    sent = [len(messages(fabric.batch("producer-1", "billing"), "billing-0")) for _ in range(5)]
    assert sent == [1, 1, 0, 0, 0]
    assert len(messages(fabric.send("billing-0", m.Reply(2), (b"", b"")), "billing-0")) == 1


def test_a_worker_that_goes_hands_its_queue_to_another_and_loses_what_it_had(fabric: Fabric) -> None:
    fabric.core = RelayCore(RelaySettings(name="relay-0", max_message=COST), fabric._verify)
    fabric.hello("billing-0")
    fabric.hello("producer-1")
    fabric.grant("producer-1", "billing", 3 * COST)
    for epoch in range(3):
        fabric.batch("producer-1", "billing", epoch=epoch)
    fabric.hello("billing-1")
    effects = fabric.core.gone("billing-0", 0.0)
    unroutable = [message for message in messages(effects, "producer-1") if isinstance(message, m.Unroutable)]
    assert [message.epoch for message in unroutable] == [0, 1]
    assert [type(message) for message in messages(effects, "billing-1")] == [m.Deliver]


def test_what_a_worker_has_stays_charged_when_its_producer_goes(fabric: Fabric) -> None:
    fabric.grant("producer-1", "billing", 2 * COST)
    effects = fabric.batch("producer-1", "billing")
    (deliver,) = messages(effects, "billing-0")
    assert isinstance(deliver, m.Deliver)
    fabric.core.gone("producer-1", 0.0)
    assert fabric.core.reserved["billing"][0] == COST
    fabric.send("billing-0", m.Reply(deliver.seq), (b"", b""))
    assert fabric.core.reserved["billing"][0] == 0


def test_an_answer_never_reaches_a_later_session_of_the_same_producer(fabric: Fabric) -> None:
    fabric.grant("producer-1", "billing", COST)
    (deliver,) = messages(fabric.batch("producer-1", "billing"), "billing-0")
    assert isinstance(deliver, m.Deliver)
    fabric.hello("producer-1")
    assert messages(fabric.send("billing-0", m.Reply(deliver.seq), (b"", b"")), "producer-1") == []


def test_a_batch_for_a_sink_without_a_worker_comes_back(fabric: Fabric) -> None:
    fabric.grant("producer-1", "billing", COST)
    fabric.core.gone("billing-0", 0.0)
    assert m.Unroutable(LOG, "billing", 1) in messages(fabric.batch("producer-1", "billing"), "producer-1")


def test_a_question_reaches_a_worker_under_its_producers_nonce_and_epoch(fabric: Fabric) -> None:
    (heard,) = messages(
        fabric.send("producer-1", m.Head(LOG, (m.Target("billing", 4),), True), (b"c", b"n")), "billing-0"
    )
    assert heard == m.Listen(1, LOG, b"producer-1".ljust(16), 4, True)


def test_more_sinks_than_memory_is_divided_among_are_refused() -> None:
    fabric = Fabric(sinks=1)
    fabric.hello("billing-0")
    refused = messages(fabric.hello("archive-0"), "archive-0")[-1]
    assert isinstance(refused, m.Refused)
    assert refused.reason == "too-many-sinks"


def test_more_sessions_than_allowed_are_refused() -> None:
    fabric = Fabric(sessions=1)
    fabric.hello("billing-0")
    refused = messages(fabric.hello("producer-1"), "producer-1")[-1]
    assert isinstance(refused, m.Refused)
    assert refused.reason == "full"


def test_a_session_that_sits_on_credit_others_need_ends() -> None:
    fabric = Fabric(memory=4 * COST, sinks=1, idle_grant=10.0)
    fabric.hello("billing-0")
    fabric.hello("producer-1")
    fabric.grant("producer-1", "billing", 3 * COST)
    assert fabric.core.tick(9.0) == []
    refused = messages(fabric.core.tick(11.0), "producer-1")[0]
    assert isinstance(refused, m.Refused)
    assert refused.reason == "idle-credit"


def test_a_relay_that_drains_tells_everybody_and_takes_nobody_new(fabric: Fabric) -> None:
    effects = fabric.core.drain()
    assert messages(effects, "producer-1") == messages(effects, "billing-0") == [m.Draining()]
    refused = messages(fabric.hello("producer-2"), "producer-2")[0]
    assert isinstance(refused, m.Refused)
    assert refused.reason == "draining"


def test_a_draining_worker_is_told_that_it_has_all_and_is_given_nothing_new(fabric: Fabric) -> None:
    assert messages(fabric.send("billing-0", m.Draining()), "billing-0") == [m.Draining()]
    fabric.grant("producer-1", "billing", COST)
    assert fabric.core.workers == {}
    assert messages(fabric.batch("producer-1", "billing"), "billing-0") == []


def test_a_worker_may_not_speak_as_a_producer(fabric: Fabric) -> None:
    refused = messages(fabric.batch("billing-0", "billing"), "billing-0")[0]
    assert isinstance(refused, m.Refused)
    assert refused.reason == "unexpected"
