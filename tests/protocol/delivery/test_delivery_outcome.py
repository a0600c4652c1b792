"""What a sink's answer makes of a cursor."""

from meterfabric_protocol import message as m
from meterfabric_protocol.delivery import effects as fx

from .producer_rig import LOG, PARCELS, Rig, ready


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


def test_a_receipt_without_its_cosignature_is_not_believed() -> None:
    rig = ready()
    rig.answer("receipt", 2, about=2, cosignature="— metering.main/sink/billing AAAA\n")
    assert rig.acked() == 0


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


def test_a_conflict_seen_only_on_a_probe_raises_the_alarm_and_is_followed_too() -> None:
    rig = ready(idle=1_000.0)
    rig.answer("receipt", 2, about=2)
    rig.delivered(PARCELS[1])
    rig.wait(100.0)
    rig.answer("conflict", 6, about=4)
    assert [alarm.word for alarm in rig.of(fx.Alarm)] == ["equivocation"]
    rig.do(rig.core.fetched(LOG, 0, PARCELS[:2], rig.now))
    rig.answer("receipt", 6, about=2)
    rig.answer("conflict", 6, about=4)
    assert [(fork.origin, fork.common, fork.heard) for fork in rig.of(fx.Fork)] == [(LOG, 2, 6)]
    assert [alarm.word for alarm in rig.of(fx.Alarm)] == ["equivocation"]


def test_that_a_log_which_has_ended_is_contested_past_its_end_is_no_news() -> None:
    facts = fx.LogFacts(
        LOG, 4, False, b"chain", PARCELS[1].note, superseded_at=2, cursors={"billing": fx.CursorRow(2, PARCELS[0].root)}
    )
    rig = Rig(log=facts)
    rig.up()
    rig.answer("conflict", 6, about=4)
    assert (rig.of(fx.Alarm), rig.of(fx.Fork), rig.acked()) == ([], [], 2)


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


def test_a_refusal_is_waited_out() -> None:
    rig = ready()
    rig.answer("refused", 0, reason="expired")
    assert rig.sent(m.Batch) == []
    rig.wait(2.5)
    assert [head.probe for head in rig.sent(m.Head)] == [True]
