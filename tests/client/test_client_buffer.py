import threading

import pytest

from meterfabric_client.buffer import Buffer
from meterfabric_client.errors import Closed


def buffer(
    records: int = 10, size: int = 1000, batch_records: int = 3, batch_bytes: int = 100
) -> tuple[Buffer, list[str]]:
    woken: list[str] = []
    return Buffer(records, size, batch_records, batch_bytes, lambda: woken.append("woken")), woken


def test_the_delivery_is_woken_by_the_first_record_and_by_a_full_batch_only() -> None:
    held, woken = buffer()
    counts = []
    for _ in range(5):
        assert held.offer(b"x")
        counts.append(len(woken))
    assert counts == [1, 1, 2, 2, 2]


def test_the_delivery_is_woken_by_a_batch_that_is_full_by_bytes() -> None:
    held, woken = buffer()
    held.offer(b"x" * 60)
    held.offer(b"x" * 60)
    assert len(woken) == 2


def test_what_is_taken_counts_until_it_is_answered() -> None:
    held, _ = buffer(records=2)
    assert held.offer(b"a")
    assert held.offer(b"b")
    assert not held.offer(b"c")
    first, lines = held.take(1000)
    assert (first, lines, held.pending, held.pending_bytes) == (0, [b"a", b"b"], 2, 4)
    assert not held.offer(b"c")
    held.settle(lines, 2)
    assert held.offer(b"c")


def test_bytes_are_bounded_too() -> None:
    held, _ = buffer(size=100)
    assert held.offer(b"x" * 99)
    assert not held.offer(b"x")


def test_a_batch_keeps_to_records_and_bytes() -> None:
    held, _ = buffer()
    for _ in range(5):
        held.offer(b"x" * 10)
    assert held.take(1000) == (0, [b"x" * 10] * 3)
    assert held.take(11) == (3, [b"x" * 10])
    assert held.take(10) == (4, [])
    assert held.first_held == 4


def test_a_batch_is_ripe_when_full_flushed_or_old() -> None:
    held, _ = buffer()
    assert held.ripe_in(60) is None
    held.offer(b"x")
    waits = held.ripe_in(60)
    assert waits is not None
    assert 0 < waits <= 60
    assert held.ripe_in(0) == 0
    held.flush()
    assert held.ripe_in(60) == 0
    held.take(1000)
    held.offer(b"x")
    assert held.ripe_in(60) != 0
    held.offer(b"x")
    held.offer(b"x")
    assert held.ripe_in(60) == 0


def test_a_flush_waits_for_what_came_before_it_and_for_nothing_after() -> None:
    held, _ = buffer()
    held.offer(b"a")
    below = held.flush()
    held.offer(b"b")
    first, lines = held.take(2)
    assert (first, lines) == (0, [b"a"])
    assert not held.wait_settled(below, 0)
    held.settle(lines, held.first_held)
    assert held.wait_settled(below, 0)


def test_put_waits_for_room_and_no_longer_than_told() -> None:
    held, _ = buffer(records=1)
    held.offer(b"a")
    assert not held.put(b"b", 0.01)
    _, lines = held.take(1000)
    answer = threading.Timer(0.02, held.settle, (lines, 1))
    answer.start()
    assert held.put(b"b", 10)
    answer.join()


def test_who_waits_for_room_is_called_once_when_there_is_some() -> None:
    held, _ = buffer(records=1)
    called: list[int] = []
    held.when_room(lambda: called.append(0))
    held.offer(b"a")
    held.when_room(lambda: called.append(1))
    assert called == [0]
    _, lines = held.take(1000)
    held.settle(lines, 1)
    held.settle([], 1)
    assert called == [0, 1]


def test_a_closed_buffer_takes_nothing_and_lets_all_go() -> None:
    held, woken = buffer(records=1)
    held.offer(b"a")
    called: list[int] = []
    held.when_room(lambda: called.append(1))
    held.close()
    assert held.ripe_in(60) == 0
    assert (called, len(woken)) == ([1], 2)
    with pytest.raises(Closed):
        held.offer(b"b")
