"""What goes next, to whom, and what it waits for."""

from meterfabric_protocol import message as m
from meterfabric_protocol.delivery import effects as fx

from .producer_rig import LOG, PARCELS, Rig, ready, stubbed

BOTH = fx.SinkPolicy("billing"), fx.SinkPolicy("archive")


def test_a_sink_is_asked_where_it_is_before_anything_is_sent() -> None:
    rig = Rig()
    rig.up()
    rig.seal(PARCELS[0])
    assert [head.probe for head in rig.sent(m.Head)] == [True]
    assert rig.sent(m.Batch) == []
    rig.answer("position", 0)
    assert [send.frames[2] for send in rig.of(fx.Send)] == [PARCELS[0].payload]


def test_sinks_in_step_share_one_copy() -> None:
    rig = ready(*BOTH)
    for sink in ("billing", "archive"):
        rig.answer("receipt", 2, about=2, sink=sink)
    rig.seal(PARCELS[1])
    (batch,) = rig.sent(m.Batch)
    assert {target.sink for target in batch.targets} == {"billing", "archive"}


def test_a_dead_sink_does_not_hold_up_a_living_one() -> None:
    rig = ready(*BOTH)
    rig.answer("receipt", 2, about=2)
    rig.seal(*PARCELS[1:4])
    for parcel in PARCELS[1:4]:
        rig.answer("receipt", parcel.size, about=parcel.size)
    assert (rig.acked("billing"), rig.acked("archive")) == (8, 0)


def test_the_window_bounds_what_is_in_flight() -> None:
    rig = ready(window=1)
    rig.seal(*PARCELS[1:4])
    assert rig.sent(m.Batch) == []
    rig.answer("receipt", 2, about=2)
    assert len(rig.sent(m.Batch)) == 1


def test_without_credit_nothing_is_sent_but_a_wish() -> None:
    rig = Rig()
    rig.up(credit=0)
    rig.seal(PARCELS[0])
    rig.answer("position", 0)
    assert (rig.sent(m.Batch), len(rig.sent(m.Want))) == ([], 1)


def test_a_wish_that_is_not_heard_is_repeated() -> None:
    rig = Rig()
    rig.up(credit=0)
    rig.seal(PARCELS[0])
    rig.answer("position", 0)
    wishes = [want for _ in range(4) for want in (rig.wait(1.0), rig.sent(m.Want))[1]]
    assert any(want.wishes["billing"].next for want in wishes)


def test_a_stub_waits_for_the_notice_that_says_why() -> None:
    rig = Rig(log=fx.LogFacts(LOG, 2, True, b"chain", PARCELS[0].note, cursors={"billing": fx.CursorRow()}))
    rig.up()
    rig.answer("position", 0)
    (fetch,) = rig.of(fx.Fetch)
    rig.do(rig.core.fetched(LOG, fetch.first, [stubbed(PARCELS[0])], rig.now))
    (seal,) = rig.of(fx.SealNotices)
    assert rig.sent(m.Batch) == []
    rig.do(rig.core.notices_sealed(seal.tag, rig.now))
    (send,) = [send for send in rig.of(fx.Send) if isinstance(send.message, m.Batch)]
    assert send.frames[2] == b"permit"
    assert rig.permits == [(0, ["billing"])]


def test_damage_needs_no_other_excuse() -> None:
    rig = Rig(log=fx.LogFacts(LOG, 2, True, b"chain", PARCELS[0].note, cursors={"billing": fx.CursorRow()}))
    rig.up()
    rig.answer("position", 0)
    rig.do(rig.core.fetched(LOG, 0, [stubbed(PARCELS[0], damaged=True)], rig.now))
    assert (rig.of(fx.SealNotices), len(rig.sent(m.Batch))) == ([], 1)
    rig.answer("passed", 2, about=2)
    assert [progress.received for progress in rig.of(fx.Progress)] == [False]


def test_past_where_a_log_ends_nothing_is_sent() -> None:
    facts = fx.LogFacts(LOG, 4, False, b"chain", PARCELS[1].note, superseded_at=2)
    rig = Rig(log=facts)
    rig.up()
    rig.answer("position", 0)
    rig.do(rig.core.fetched(LOG, 0, PARCELS[:2], rig.now))
    assert len(rig.sent(m.Batch)) == 1


def test_where_a_sink_lags_the_newest_head_is_told() -> None:
    rig = ready()
    rig.seal(PARCELS[1])
    rig.now += 11.0
    rig.do(rig.core.tick(rig.now))
    assert any(not head.probe for head in rig.sent(m.Head))


def test_batches_are_read_from_the_spool_where_memory_has_them_not() -> None:
    facts = fx.LogFacts(LOG, 8, True, b"chain", PARCELS[3].note)
    rig = Rig(log=facts)
    rig.up()
    rig.answer("position", 0)
    assert [(fetch.origin, fetch.first) for fetch in rig.of(fx.Fetch)] == [(LOG, 0)]
    rig.do(rig.core.fetched(LOG, 0, [], rig.now))
    assert rig.of(fx.Fetch) == []
    rig.wait(1.5)
    assert len(rig.of(fx.Fetch)) == 1
