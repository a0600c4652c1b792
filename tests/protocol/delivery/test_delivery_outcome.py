"""What a sink's answer makes of a cursor."""

from meterfabric_protocol import message as m
from meterfabric_protocol.delivery import effects as fx
from meterfabric_protocol.notice import LostBySink, Notice

from .producer_rig import LOG, PARCELS, Rig, ready, stubbed

OTHER = b"o" * 32


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
    rig = ready(idle=1_000.0)
    rig.answer("receipt", 2, about=2)
    rig.delivered(*PARCELS[1:3])
    rig.wait(100.0)
    assert [head.probe for head in rig.sent(m.Head)] == [True]
    rig.answer("position", 2)
    assert "sink-behind" in [alarm.word for alarm in rig.of(fx.Alarm)]
    assert rig.acked() == 2
    assert [(fetch.first, fetch.max_bytes) for fetch in rig.of(fx.Fetch)] == [(1, 1)]
    rig.do(rig.core.fetched(LOG, 1, [stubbed(PARCELS[0])], rig.now))
    assert [len(send.frames) for send in rig.of(fx.Send)] == [2], "it is asked first whether this is our log"
    rig.answer("receipt", 2, about=2)
    assert rig.of(fx.Progress) == []
    assert [fetch.first for fetch in rig.of(fx.Fetch)] == [2]


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
    assert [alarm.word for alarm in rig.of(fx.Alarm)] == ["equivocation", "lost-by-sink"]
    assert said(rig) == [LostBySink(log=LOG, sink="billing", ranges=((2, 4),))]


def said(rig: Rig) -> list[Notice]:
    return [notice for effect in rig.of(fx.SealNotices) for notice in effect.notices]


def fallen_back(size: int, answer_root: bytes | None = None) -> Rig:
    """Four batches were received and dropped; then the sink says that it holds so much."""
    rig = ready(idle=1_000.0)
    rig.answer("receipt", 2, about=2)
    rig.delivered(*PARCELS[1:4])
    rig.wait(1.0)
    assert rig.of(fx.Drop) == [fx.Drop(LOG, 8)]
    rig.wait(100.0)
    rig.answer("position", size, root=answer_root)
    return rig


def walked_to(rig: Rig, common: int, held: int) -> None:
    """The sink knows our batches up to `common`, and another one after."""
    rig.do(rig.core.fetched(LOG, 0, [stubbed(parcel) for parcel in PARCELS[:4]], rig.now))
    for size in range(2, common + 1, 2):
        rig.answer("receipt", held, about=size, root=OTHER)
    rig.answer("conflict", held, about=common + 2, root=OTHER)


def test_a_restored_sink_that_took_another_branch_is_told_of_as_having_lost_what_is_gone_here() -> None:
    rig = fallen_back(6, OTHER)
    rig.do(rig.core.fetched(LOG, 5, [stubbed(PARCELS[2])], rig.now))
    rig.answer("conflict", 6, about=6, root=OTHER)
    assert [alarm.word for alarm in rig.of(fx.Alarm)] == ["equivocation"]
    walked_to(rig, 2, 6)
    assert [(fork.common, fork.sink) for fork in rig.of(fx.Fork)] == [(2, "billing")]
    assert said(rig) == [LostBySink(log=LOG, sink="billing", ranges=((2, 8),))]
    (seal,) = rig.of(fx.SealNotices)
    rig.do(rig.core.notices_sealed(seal.tag, rig.now))
    assert [(saved.row.acked, saved.row.excused_from, saved.row.excused_to) for saved in rig.of(fx.SaveCursor)] == [
        (2, 2, 8)
    ]


def test_a_position_that_is_no_boundary_of_ours_is_another_branch() -> None:
    rig = fallen_back(5, OTHER)
    rig.do(rig.core.fetched(LOG, 4, [stubbed(PARCELS[2])], rig.now))
    assert [alarm.word for alarm in rig.of(fx.Alarm)] == ["equivocation"]
    assert rig.acked() == 0


def test_a_sink_beyond_our_log_shows_whether_it_holds_ours() -> None:
    rig = fallen_back(9, OTHER)
    assert [fork.common for fork in rig.of(fx.Fork)] == [8]
    rig.do(rig.core.fetched(LOG, 7, [stubbed(PARCELS[3])], rig.now))
    rig.answer("conflict", 9, about=8, root=OTHER)
    walked_to(rig, 4, 9)
    assert [fork.common for fork in rig.of(fx.Fork)] == [4]
    assert said(rig) == [LostBySink(log=LOG, sink="billing", ranges=((4, 8),))]


def ended(**row: int) -> Rig:
    """A log that has ended at 4 of 8, and all of it was dropped before."""
    cursor = fx.CursorRow(root=PARCELS[row["acked"] // 2 - 1].root, **row)
    facts = fx.LogFacts(LOG, 8, False, b"chain", PARCELS[3].note, 8, superseded_at=4, cursors={"billing": cursor})
    rig = Rig(log=facts)
    rig.up()
    return rig


def test_a_third_branch_below_the_end_of_a_log_is_seen() -> None:
    rig = ended(acked=4)
    rig.answer("position", 5, root=OTHER)
    rig.do(rig.core.fetched(LOG, 3, [stubbed(PARCELS[1])], rig.now))
    rig.answer("conflict", 5, about=4, root=OTHER)
    assert [alarm.word for alarm in rig.of(fx.Alarm)] == ["equivocation"]
    walked_to(rig, 2, 5)
    assert [fork.common for fork in rig.of(fx.Fork)] == [2]
    assert said(rig) == [LostBySink(log=LOG, sink="billing", ranges=((2, 8),))]


def test_a_second_sink_that_parts_past_the_end_has_lost_what_is_gone_behind() -> None:
    rig = ended(acked=8)
    rig.answer("conflict", 9, about=8, root=OTHER)
    assert [alarm.word for alarm in rig.of(fx.Alarm)] == ["equivocation"]
    walked_to(rig, 6, 9)
    assert rig.of(fx.Fork) == []
    assert said(rig) == [LostBySink(log=LOG, sink="billing", ranges=((6, 8),))]


def test_a_walk_past_the_end_of_a_log_stops_at_a_gap() -> None:
    rig = ended(acked=8)
    rig.answer("conflict", 9, about=8, root=OTHER)
    rig.do(rig.core.fetched(LOG, 0, [stubbed(parcel) for parcel in PARCELS[:2]], rig.now))
    rig.answer("receipt", 9, about=2, root=OTHER)
    rig.answer("receipt", 9, about=4, root=OTHER)
    rig.do(rig.core.fetched(LOG, 4, [stubbed(PARCELS[3])], rig.now))
    assert said(rig) == [LostBySink(log=LOG, sink="billing", ranges=((4, 8),))]


def test_what_a_crash_kept_from_being_said_of_a_sink_is_said_by_the_next_start() -> None:
    rig = ended(acked=4)
    rig.answer("position", 4)
    assert said(rig) == [LostBySink(log=LOG, sink="billing", ranges=((4, 8),))]


def test_a_sink_that_holds_our_log_past_its_end_has_lost_nothing() -> None:
    rig = ended(acked=8)
    rig.answer("position", 9, root=OTHER)
    rig.do(rig.core.fetched(LOG, 7, [stubbed(PARCELS[3])], rig.now))
    rig.answer("receipt", 9, about=8)
    assert (said(rig), rig.of(fx.Alarm), rig.acked()) == ([], [], 8)


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
