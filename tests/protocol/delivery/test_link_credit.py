"""A producer's credit: given back when it lies idle, and never used on a grant that the relay has taken back since."""

from meterfabric_protocol.delivery.link import Credit
from meterfabric_protocol.message import Wish

IDLE, PATIENCE = 2.0, 2.0


def test_credit_that_lies_unused_is_given_back() -> None:
    credit = Credit()
    credit.ask(Wish(10, 100), 50.0)
    credit.grant(100, 50.1, PATIENCE)
    credit.used, credit.used_at = 60, 50.2
    assert not credit.lies_idle(52.1, IDLE)
    assert credit.lies_idle(52.2, IDLE)
    assert credit.give_back(52.2) == Wish(0, 60)
    assert (credit.left, credit.lies_idle(99.0, IDLE)) == (0, False)


def test_credit_asked_for_a_moment_ago_is_not_given_back_however_long_nothing_was_sent_before() -> None:
    credit = Credit()
    credit.ask(Wish(10, 10), 1_000.0)
    assert not credit.lies_idle(1_000.1, IDLE)
    credit.grant(10, 1_000.2, PATIENCE)
    credit.used, credit.used_at = 10, 1_000.3
    credit.ask(Wish(10, 20), 2_000.0)
    assert not credit.lies_idle(2_000.1, IDLE)


def test_waiting_in_vain_counts_from_the_first_wish_and_not_from_its_repetitions() -> None:
    credit = Credit()
    for now in (10.0, 11.0, 12.0):
        credit.ask(Wish(10, 10), now)
    assert credit.lies_idle(12.0, IDLE)


def test_a_grant_made_before_the_relay_knew_of_the_return_is_void() -> None:
    credit = Credit()
    credit.ask(Wish(10, 100), 50.0)
    credit.grant(50, 50.0, PATIENCE)
    credit.used, credit.used_at = 20, 50.0
    credit.give_back(53.0)
    credit.grant(100, 53.1, PATIENCE)
    assert credit.left == 0
    credit.grant(20, 53.2, PATIENCE)  # the relay's word on what came back
    credit.ask(Wish(10, 60), 53.3)
    credit.grant(60, 53.4, PATIENCE)
    assert credit.left == 40


def test_the_relays_word_on_a_return_may_be_lost() -> None:
    credit = Credit()
    credit.ask(Wish(10, 50), 50.0)
    credit.give_back(53.0)
    credit.ask(Wish(10, 50), 53.1)
    credit.grant(50, 55.0, PATIENCE)
    assert credit.left == 50
