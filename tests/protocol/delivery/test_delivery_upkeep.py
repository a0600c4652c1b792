"""What is given up, under which notice, and what is dropped when."""

from meterfabric_protocol import message as m
from meterfabric_protocol import notice as notices
from meterfabric_protocol.delivery import effects as fx

from .producer_rig import LOG, PARCELS, Rig, ready

BOTH = fx.SinkPolicy("billing"), fx.SinkPolicy("archive")


def sealed(rig: Rig) -> list[notices.Notice]:
    return [notice for effect in rig.of(fx.SealNotices) for notice in effect.notices]


def durable(rig: Rig) -> None:
    (seal,) = rig.of(fx.SealNotices)
    rig.do(rig.core.notices_sealed(seal.tag, rig.now))


def test_payloads_go_once_every_sink_has_them() -> None:
    rig = ready(*BOTH)
    rig.answer("receipt", 2, about=2)
    rig.wait(1.0)
    assert rig.of(fx.Drop) == []
    rig.answer("receipt", 2, about=2, sink="archive")
    rig.wait(1.0)
    assert rig.of(fx.Drop) == [fx.Drop(LOG, 2)]


def test_payloads_are_retained_as_long_as_told() -> None:
    rig = ready(retain=60.0)
    rig.answer("receipt", 2, about=2)
    rig.wait(1.0)
    rig.wait(58.0)
    assert rig.of(fx.Drop) == []
    rig.wait(3.0)
    assert rig.of(fx.Drop) == [fx.Drop(LOG, 2)]


def test_age_gives_up_what_one_sink_waits_for_under_a_notice() -> None:
    rig = ready(fx.SinkPolicy("billing", expiry=60.0), fx.SinkPolicy("archive", expiry=None))
    (question,) = rig.core.expiry_questions(rig.now)
    assert (question.sink, question.first, question.older_than) == ("billing", 0, rig.now - 60.0)
    rig.do(rig.core.expire(LOG, "billing", 2, "age", rig.now))
    assert sealed(rig) == [notices.Expired(log=LOG, sink="billing", ranges=((0, 2),), reason="age")]
    assert rig.core.logs[LOG].cursors["billing"].floor == 0, "not before the notice is durable"
    durable(rig)
    assert [(row.sink, row.row.excused_to) for row in rig.of(fx.SaveCursor)] == [("billing", 2)]
    assert rig.of(fx.Drop) == [], "the other sink is owed it still"


def test_expiry_asks_seldom() -> None:
    rig = ready(fx.SinkPolicy("billing", expiry=640.0))
    assert len(rig.core.expiry_questions(rig.now)) == 1
    assert rig.core.expiry_questions(rig.now + 9.0) == []
    assert len(rig.core.expiry_questions(rig.now + 10.0)) == 1


def test_without_an_expiry_nothing_is_asked() -> None:
    assert ready(fx.SinkPolicy("billing", expiry=None)).core.expiry_questions(1e9) == []


def test_what_expired_and_is_still_here_travels_as_it_is() -> None:
    rig = ready()
    rig.do(rig.core.expire(LOG, "billing", 2, "age", rig.now))
    durable(rig)
    rig.answer("receipt", 2, about=2)
    assert [progress.received for progress in rig.of(fx.Progress)] == [True]


def test_for_room_what_is_only_retained_goes_first() -> None:
    rig = ready(retain=1_000.0)
    rig.answer("receipt", 2, about=2)
    effects, questions = rig.core.relieve(10, rig.now)
    assert (effects, questions) == ([fx.Drop(LOG, 2)], [])


def test_for_room_a_required_sink_that_refuses_is_never_given_up() -> None:
    assert ready().core.relieve(10, 0.0) == ([], [])


def test_for_room_optional_sinks_give_up_before_required_ones() -> None:
    rig = ready(fx.SinkPolicy("billing", when_full="expire-oldest"), fx.SinkPolicy("archive", required=False))
    _, questions = rig.core.relieve(10, rig.now)
    assert [(question.sink, question.bytes) for question in questions] == [("archive", 10)]


def test_a_sink_that_joins_is_sent_nothing_before_the_notice_says_from_where() -> None:
    facts = fx.LogFacts(LOG, 4, True, b"chain", PARCELS[1].note, 2, cursors={"billing": fx.CursorRow(4)})
    rig = Rig(log=facts)
    rig.do(rig.core.configure(BOTH, rig.now))
    assert sealed(rig) == [notices.SinkJoined(log=LOG, sink="archive", size=2)]
    joined = rig.of(fx.SealNotices)
    rig.up("archive", "billing")
    rig.answer("position", 0, sink="archive")
    assert (rig.sent(m.Batch), rig.of(fx.Fetch)) == ([], [])
    rig.do(rig.core.notices_sealed(joined[0].tag, rig.now))
    assert [row.row.excused_to for row in rig.of(fx.SaveCursor)] == [2]
    assert len(rig.of(fx.Fetch)) == 1


def test_a_join_that_a_crash_forgot_is_said_again() -> None:
    facts = fx.LogFacts(LOG, 4, True, b"chain", PARCELS[1].note, 2, cursors={"billing": fx.CursorRow(4)})
    rig = Rig(*BOTH)
    rig.do(rig.core.add_log(facts, rig.now))
    assert sealed(rig) == [notices.SinkJoined(log=LOG, sink="archive", size=2)]


def test_a_sink_that_leaves_is_sent_nothing_more() -> None:
    rig = ready(*BOTH)
    rig.do(rig.core.configure(BOTH[:1], rig.now))
    assert sealed(rig) == [notices.SinkLeft(log=LOG, sink="archive", size=0)]
    assert rig.of(fx.RemoveCursor) == [fx.RemoveCursor(LOG, "archive")]
    rig.answer("receipt", 2, about=2)
    rig.wait(1.0)
    assert rig.of(fx.Drop) == [fx.Drop(LOG, 2)]


def test_damage_is_said() -> None:
    rig = ready()
    rig.do(rig.core.damaged(LOG, 0, 2, "hash", rig.now))
    assert sealed(rig) == [notices.Damaged(log=LOG, ranges=((0, 2),), cause="hash")]


def test_a_log_that_is_over_is_forgotten_after_a_while() -> None:
    facts = fx.LogFacts(LOG, 2, False, b"chain", PARCELS[0].note, cursors={"billing": fx.CursorRow(2)})
    rig = Rig(log=facts, linger=60.0)
    rig.wait(1.0)
    rig.wait(58.0)
    assert rig.of(fx.Forget) == []
    rig.wait(3.0)
    assert rig.of(fx.Forget) == [fx.Forget(LOG)]


def test_the_log_that_grows_is_never_forgotten() -> None:
    rig = ready(linger=1.0)
    rig.answer("receipt", 2, about=2)
    for _ in range(5):
        rig.wait(10.0)
        assert rig.of(fx.Forget) == []
