"""Fairness in bytes between origins."""

from hypothesis import given
from hypothesis import strategies as st

from meterfabric_protocol.delivery.fair import FairQueue

ROOM = 1 << 30


def test_a_backlog_of_one_log_starves_no_other() -> None:
    queue: FairQueue[str] = FairQueue(100)
    for number in range(100):
        queue.push("busy", 100, f"busy {number}")
    queue.push("quiet", 100, "quiet")
    assert "quiet" in [queue.pop(ROOM) for _ in range(2)]


def test_order_within_a_log_is_kept() -> None:
    queue: FairQueue[int] = FairQueue(10)
    for number in range(5):
        queue.push("a", 30, number)
    assert [queue.pop(ROOM) for _ in range(5)] == [0, 1, 2, 3, 4]


def test_the_turn_waits_where_there_is_no_room() -> None:
    queue: FairQueue[str] = FairQueue(100)
    queue.push("a", 80, "large")
    queue.push("b", 10, "small")
    assert queue.pop(50) is None
    assert queue.pop(80) == "large"


def test_bytes_are_shared_evenly_whatever_the_sizes() -> None:
    queue: FairQueue[str] = FairQueue(1_000)
    for _ in range(2_000):
        queue.push("small", 10, "small")
    for _ in range(20):
        queue.push("large", 1_000, "large")
    taken = {"small": 0, "large": 0}
    for _ in range(1_010):
        item = queue.pop(ROOM)
        assert item is not None
        taken[item] += 10 if item == "small" else 1_000
    assert abs(taken["small"] - taken["large"]) <= 2_000


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 300)), max_size=40), st.integers(1, 200))
def test_everything_that_goes_in_comes_out_once(items: list[tuple[str, int]], quantum: int) -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue(quantum)
    for number, (key, cost) in enumerate(items):
        queue.push(key, cost, (key, number))
    assert queue.bytes == sum(cost for _, cost in items)
    removed = queue.remove(lambda item: item[0] == "b")
    taken = []
    while (item := queue.pop(ROOM)) is not None:
        taken.append(item)
    assert sorted(taken + removed) == sorted((key, number) for number, (key, _) in enumerate(items))
    assert (queue.bytes, len(queue)) == (0, 0)


def test_draining_takes_everything() -> None:
    queue: FairQueue[int] = FairQueue()
    queue.push("a", 1, 1)
    queue.push("b", 1, 2)
    assert list(queue.drain()) == [1, 2]
    assert len(queue) == 0
