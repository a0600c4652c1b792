"""Credit: what a relay promised and holds never exceeds its memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterfabric_protocol.delivery.credit import Pool
from meterfabric_protocol.message import Wish


def test_a_wish_is_granted_in_chunks() -> None:
    pool = Pool(10_000, 1_000)
    assert pool.ask("a", Wish(100, 2_500))
    assert pool.grants() == [("a", 2_500)]
    assert pool.reserved == 2_500


def test_those_who_wait_take_turns() -> None:
    pool = Pool(3_000, 1_000)
    pool.ask("a", Wish(100, 5_000))
    pool.ask("b", Wish(100, 1_000))
    assert dict(pool.grants()) == {"a": 2_000, "b": 1_000}


def test_a_large_message_first_in_line_is_not_overtaken() -> None:
    pool = Pool(1_000, 100)
    pool.ask("a", Wish(600, 600))
    assert pool.grants() == [("a", 600)]
    assert pool.use("a", 600)
    pool.ask("b", Wish(900, 900))
    pool.ask("c", Wish(10, 10))
    assert pool.grants() == []
    pool.release("a", 600)
    assert pool.grants() == [("b", 900), ("c", 10)]


def test_a_message_that_can_never_fit_is_told_at_once() -> None:
    assert not Pool(1_000, 100).ask("a", Wish(1_001, 1_001))


def test_what_was_never_granted_can_not_be_used() -> None:
    pool = Pool(1_000, 100)
    assert not pool.use("a", 1)
    pool.ask("a", Wish(50, 50))
    pool.grants()
    assert pool.use("a", 50)
    assert not pool.use("a", 1)


def test_unused_credit_is_given_back() -> None:
    pool = Pool(1_000, 1_000)
    pool.ask("a", Wish(100, 1_000))
    pool.grants()
    pool.use("a", 300)
    pool.ask("a", Wish(0, 300))
    assert pool.reserved == 300


def test_what_was_lost_on_the_way_is_free_once_its_sender_is_idle() -> None:
    pool = Pool(1_000, 1_000)
    pool.ask("a", Wish(500, 1_000))
    pool.grants()
    pool.use("a", 400)
    pool.ask("a", Wish(0, 900))
    assert pool.reserved == 400
    pool.release("a", 400)
    assert pool.reserved == 0


def test_the_memory_of_a_session_that_ended_is_free_only_when_its_messages_are() -> None:
    pool = Pool(1_000, 1_000)
    pool.ask("a", Wish(500, 1_000))
    pool.grants()
    pool.use("a", 400)
    pool.close("a")
    assert pool.reserved == 400
    pool.release("a", 400)
    assert (pool.reserved, pool.accounts) == (0, {})


@pytest.mark.parametrize("capacity", [500, 2_000])
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.sampled_from(["ask", "use", "release", "close", "idle"]),
            st.integers(1, 400),
        ),
        max_size=60,
    )
)
def test_reserved_is_what_accounts_hold_and_never_more_than_there_is(
    capacity: int, steps: list[tuple[str, str, int]]
) -> None:
    pool = Pool(capacity, 150)
    flying: dict[str, list[int]] = {name: [] for name in "abc"}
    sent = dict.fromkeys("abc", 0)
    for name, step, size in steps:
        match step:
            case "ask":
                pool.ask(name, Wish(size, sent[name] + 2 * size))
            case "use":
                if pool.use(name, size):
                    flying[name].append(size)
                    sent[name] += size
            case "release" if flying[name]:
                pool.release(name, flying[name].pop())
            case "idle":
                pool.ask(name, Wish(0, sent[name]))
            case "close" if not flying[name]:
                pool.close(name)
                sent[name] = 0
        pool.grants()
        held = sum(sum(those) for those in flying.values())
        assert held <= pool.reserved <= capacity
        assert pool.reserved == sum(account.reserved for account in pool.accounts.values())
