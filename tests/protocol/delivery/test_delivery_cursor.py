"""A cursor: what is acked, what is on its way, what is excused."""

from itertools import pairwise

from meterfabric_protocol.delivery.cursor import Cursor, Flight
from meterfabric_protocol.delivery.effects import CursorRow, Parcel


def flight(first: int, size: int) -> Flight:
    return Flight(first, size, 100, b"", b"%d" % size, False, 0.0)


def flying(*bounds: int) -> Cursor:
    cursor = Cursor("billing")
    for first, size in pairwise(bounds):
        cursor.take_off(flight(first, size))
    return cursor


def parcel(first: int, size: int, *, damaged: bool = False) -> Parcel:
    return Parcel(first, size, b"", None, b"", b"", damaged)


def test_receipts_out_of_order_ack_only_without_a_gap() -> None:
    cursor = flying(0, 5, 9)
    assert cursor.settle(9, True, "second") == []
    assert [landed.size for landed in cursor.settle(5, True, "first")] == [5, 9]
    assert (cursor.acked, cursor.receipt, cursor.in_flight) == (9, "second", 0)


def test_a_receipt_for_nothing_on_its_way_changes_nothing() -> None:
    cursor = flying(0, 5)
    assert cursor.settle(4, True, "") == []
    assert (cursor.acked, cursor.in_flight) == (0, 100)


def test_a_rewind_forgets_what_is_on_its_way_and_begins_another_epoch() -> None:
    cursor = flying(0, 5, 9)
    epochs = {cursor.epoch}
    for _ in range(50):
        cursor.rewind()
        epochs.add(cursor.epoch)
    assert len(epochs) == 51
    assert (cursor.sent, cursor.in_flight, len(cursor.flights)) == (0, 0, 0)


def test_epochs_can_not_be_foreseen_without_the_secret() -> None:
    one, two = Cursor("billing", secret=b"one"), Cursor("billing", secret=b"two")
    one.rewind()
    two.rewind()
    assert one.epoch != two.epoch


def test_what_a_notice_excuses_is_owed_no_more() -> None:
    cursor = Cursor("billing", acked=5)
    cursor.excuse(5, 9)
    assert cursor.floor == 9
    assert cursor.excuses(parcel(5, 7))
    assert not cursor.excuses(parcel(7, 10))


def test_what_is_excused_further_on_does_not_excuse_what_is_before() -> None:
    cursor = Cursor("billing", acked=2)
    cursor.excuse(5, 9)
    assert cursor.floor == 2


def test_ranges_that_touch_are_one() -> None:
    cursor = Cursor("billing")
    cursor.excuse(0, 5)
    cursor.excuse(5, 9)
    assert (cursor.excused_from, cursor.excused_to) == (0, 9)


def test_damage_excuses_every_sink() -> None:
    assert Cursor("billing").excuses(parcel(0, 5, damaged=True))


def test_a_cursor_comes_back_from_its_row() -> None:
    row = CursorRow(7, b"r" * 32, "receipt", 7, 9)
    assert Cursor.restore("billing", row).row() == row


def test_a_walk_goes_over_everything_and_gives_nothing_up_meanwhile() -> None:
    cursor = Cursor("billing", acked=7, sent=7)
    cursor.walk()
    cursor.rewind()
    assert (cursor.sent, cursor.settled) == (0, False)
