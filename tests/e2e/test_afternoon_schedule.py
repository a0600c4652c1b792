"""The schedule of an afternoon: the same for a seed, every kind in it, within bounds."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.e2e.faults import KINDS
from tests.e2e.schedule import CLEAR, TOGETHER, Kind, draw

ALL = {name: kind for name, (kind, _) in KINDS.items()}
SEEDS = st.integers(0, 10**6)


@given(SEEDS, st.floats(60, 3_600))
def test_a_seed_says_everything(seed: int, seconds: float) -> None:
    assert draw(seed, seconds, ALL) == draw(seed, seconds, ALL)


@given(SEEDS)
def test_twenty_minutes_hold_every_kind(seed: int) -> None:
    assert {each.kind for each in draw(seed, 1_200, ALL)} == set(ALL)


@given(SEEDS, st.floats(60, 3_600))
def test_faults_begin_in_order_end_in_time_and_last_as_they_are_to(seed: int, seconds: float) -> None:
    drawn = draw(seed, seconds, ALL)
    assert all(one.at <= other.at for one, other in pairwise(drawn))
    for each in drawn:
        least, most = ALL[each.kind].lasts
        assert least - 0.1 <= each.until - each.at <= most + 0.1
        assert 0 < each.at <= each.until <= seconds + 0.1


@given(SEEDS)
def test_no_more_than_two_are_under_way_and_nothing_beside_what_is_alone(seed: int) -> None:
    drawn = draw(seed, 3_600, ALL)
    for number, each in enumerate(drawn):
        before = [other for other in drawn[:number] if other.until > each.at]
        assert len(before) < TOGETHER
        for other in drawn[:number]:
            if ALL[each.kind].alone or ALL[other.kind].alone:
                assert each.at >= other.until + CLEAR - 0.2


def test_what_is_to_come_more_often_does() -> None:
    kinds = {"rare": Kind(), "often": Kind(often=3)}
    drawn = [each.kind for each in draw(1, 3_600, kinds)]
    assert drawn.count("often") > 2 * drawn.count("rare")
