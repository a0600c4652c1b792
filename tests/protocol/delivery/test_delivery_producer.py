"""The producer: what it sends when, and what it believes."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

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


def test_a_receipt_moves_the_cursor_and_is_kept() -> None:
    rig = ready()
    rig.answer("receipt", 2, about=2)
    assert [saved.row.acked for saved in rig.of(fx.SaveCursor)] == [2]
    assert [(p.first, p.size, p.received) for p in rig.of(fx.Progress)] == [(0, 2, True)]


def test_a_position_alone_acks_nothing() -> None:
    rig = Rig()
    rig.up()
    rig.seal(*PARCELS[:3])
    rig.answer("position", 4)
    assert rig.acked() == 0
    batches = rig.sent(m.Batch)
    assert len(batches) == 2, "what the sink has comes first, and without its payload"
    assert all(len(send.frames) == 2 for send in rig.of(fx.Send) if isinstance(send.message, m.Batch))


def test_an_answer_by_another_key_is_not_believed() -> None:
    rig = ready()
    rig.answer("receipt", 2, about=2, key=Ed25519PrivateKey.generate())
    assert rig.acked() == 0
    assert [alarm.word for alarm in rig.of(fx.Alarm)] == ["bad-answer"]


def test_an_answer_to_another_session_is_not_believed() -> None:
    rig = ready()
    rig.answer("receipt", 2, about=2, nonce=b"x" * 16)
    assert rig.acked() == 0


def test_an_answer_to_another_epoch_counts_for_nothing() -> None:
    rig = ready()
    epoch = rig.epoch()
    rig.wait(10.0)
    rig.answer("receipt", 2, about=2, epoch=epoch)
    assert rig.acked() == 0


def test_a_receipt_without_its_cosignature_is_not_believed() -> None:
    rig = ready()
    rig.answer("receipt", 2, about=2, cosignature="— metering.main/sink/billing AAAA\n")
    assert rig.acked() == 0


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


def test_without_an_answer_another_relay_is_tried() -> None:
    rig = Rig(relays=("relay-0", "relay-1"))
    rig.up(relay="relay-0")
    rig.up(relay="relay-1")
    rig.seal(PARCELS[0])
    used = {send.relay for send in rig.of(fx.Send)}
    rig.wait(10.0)
    assert {send.relay for send in rig.of(fx.Send) if isinstance(send.message, m.Head)} - used


def test_a_relay_that_is_lost_is_left_at_once() -> None:
    rig = Rig(relays=("relay-0", "relay-1"))
    rig.up(relay="relay-0")
    rig.up(relay="relay-1")
    rig.seal(PARCELS[0])
    (used,) = {send.relay for send in rig.of(fx.Send)}
    rig.do(rig.core.lost(used, rig.now))
    assert {send.relay for send in rig.of(fx.Send)} == {"relay-0", "relay-1"} - {used}


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


def test_a_relay_that_reaches_no_sink_is_asked_again() -> None:
    rig = Rig(ask_interval=30.0)
    rig.core.hello_sent("relay-0", b"n" * 16)
    rig.say(m.Welcome("relay-0", 1_000_000))
    rig.wait(31.0)
    assert m.Want({}) in rig.sent(m.Want)


def test_a_sink_restored_from_a_backup_gets_again_what_it_lost() -> None:
    rig = ready()
    rig.answer("receipt", 2, about=2)
    rig.delivered(*PARCELS[1:3])
    rig.wait(100.0)
    assert [head.probe for head in rig.sent(m.Head)] == [True]
    rig.answer("position", 2)
    assert "sink-behind" in [alarm.word for alarm in rig.of(fx.Alarm)]
    assert rig.acked() == 2


def test_a_position_overtaken_by_receipts_is_asked_for_anew() -> None:
    rig = ready()
    rig.seal(*PARCELS[1:3])
    rig.answer("receipt", 2, about=2)
    rig.answer("receipt", 4, about=4)
    rig.answer("position", 2)
    assert rig.acked() == 4
    assert [head.probe for head in rig.sent(m.Head)] == [True]


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


def test_a_conflict_is_followed_from_the_first_leaf_on_and_ends_the_log_there() -> None:
    rig = ready()
    rig.answer("receipt", 2, about=2)
    rig.seal(*PARCELS[1:3])
    rig.answer("receipt", 4, about=4)
    rig.answer("conflict", 6, about=6)
    assert rig.of(fx.Fork) == []
    assert rig.acked() == 0
    rig.do(rig.core.fetched(LOG, 0, PARCELS[:3], rig.now))
    rig.answer("receipt", 6, about=2)
    rig.answer("receipt", 6, about=4)
    rig.answer("conflict", 6, about=6)
    assert [(fork.origin, fork.common, fork.sink) for fork in rig.of(fx.Fork)] == [(LOG, 4, "billing")]


def test_a_spool_behind_what_a_sink_holds_ends_its_log_at_once() -> None:
    rig = Rig()
    rig.up()
    rig.seal(PARCELS[0])
    rig.answer("position", 9, root=b"r" * 32)
    assert [(fork.common, fork.heard) for fork in rig.of(fx.Fork)] == [(2, 9)]


def test_a_log_that_a_sink_knows_as_ended_is_ended_here() -> None:
    rig = ready()
    rig.answer("receipt", 2, about=2)
    rig.seal(PARCELS[1])
    rig.answer("refused", 2, reason="superseded")
    assert [fork.common for fork in rig.of(fx.Fork)] == [2]


def test_past_where_a_log_ends_nothing_is_sent() -> None:
    facts = fx.LogFacts(LOG, 4, False, b"chain", PARCELS[1].note, superseded_at=2)
    rig = Rig(log=facts)
    rig.up()
    rig.answer("position", 0)
    rig.do(rig.core.fetched(LOG, 0, PARCELS[:2], rig.now))
    assert len(rig.sent(m.Batch)) == 1


def test_a_refusal_is_waited_out() -> None:
    rig = ready()
    rig.answer("refused", 0, reason="expired")
    assert rig.sent(m.Batch) == []
    rig.wait(2.5)
    assert [head.probe for head in rig.sent(m.Head)] == [True]


def test_a_new_certificate_ends_the_wait() -> None:
    rig = ready()
    rig.answer("refused", 0, reason="expired")
    rig.do(rig.core.enrolled(LOG, b"another chain", rig.now))
    assert [send.frames[0] for send in rig.of(fx.Send)] == [b"another chain"]


def test_where_a_sink_lags_the_newest_head_is_told() -> None:
    rig = ready()
    rig.seal(PARCELS[1])
    rig.now += 11.0
    rig.do(rig.core.tick(rig.now))
    assert any(not head.probe for head in rig.sent(m.Head))


def test_a_relay_that_drains_is_given_nothing_new() -> None:
    rig = Rig(relays=("relay-0", "relay-1"))
    rig.up(relay="relay-0")
    rig.up(relay="relay-1")
    rig.say(m.Draining(), relay="relay-0")
    rig.seal(PARCELS[0])
    assert {send.relay for send in rig.of(fx.Send)} == {"relay-1"}


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
