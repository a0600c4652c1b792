"""From two scans to what each user consumed."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from machine_meter.proc import ProcessKey, Reading, Scan, Units
from machine_meter.usage import Usage, between

UNITS = Units(ticks_per_second=100, page_bytes=4096)
ALICE, BOB = 1000, 1001


def at(boot: float, processes: dict[tuple[int, int], tuple[int, int, int]]) -> Scan:
    """A scan `boot` seconds after boot of {(pid, start ticks): (uid, cpu ticks, rss bytes)}."""
    readings = {ProcessKey(*key): Reading(*reading) for key, reading in processes.items()}
    return Scan(wall=1_800_000_000 + boot, boot=boot, processes=readings)


def test_cpu_is_the_growth_and_memory_the_mean_times_the_seconds() -> None:
    before = at(100, {(1, 50): (ALICE, 300, 1000)})
    after = at(110, {(1, 50): (ALICE, 450, 3000)})
    assert between(before, after, UNITS) == {ALICE: Usage(150, 20_000.0, 1)}


def test_processes_of_one_user_add_up_and_users_are_apart() -> None:
    before = at(100, {(1, 50): (ALICE, 0, 10), (2, 50): (ALICE, 0, 20), (3, 50): (BOB, 0, 40)})
    after = at(101, {(1, 50): (ALICE, 1, 10), (2, 50): (ALICE, 2, 20), (3, 50): (BOB, 4, 40)})
    assert between(before, after, UNITS) == {ALICE: Usage(3, 30.0, 2), BOB: Usage(4, 40.0, 1)}


def test_a_new_process_counts_all_its_cpu_and_its_memory_from_its_start() -> None:
    after = at(110, {(1, 10_600): (ALICE, 70, 1000)})
    assert between(at(100, {}), after, UNITS) == {ALICE: Usage(70, 4000.0, 1)}


def test_a_process_begun_in_the_tick_of_the_scan_before_counts() -> None:
    assert between(at(100.004, {}), at(101, {(1, 10_000): (ALICE, 5, 0)}), UNITS)[ALICE].cpu_ticks == 5


def test_an_old_process_seen_for_the_first_time_counts_from_now_on() -> None:
    first = at(110, {(1, 50): (ALICE, 9_000, 1000)})
    assert between(at(100, {}), first, UNITS) == {ALICE: Usage(0, 0.0, 1)}
    second = at(120, {(1, 50): (ALICE, 9_100, 1000)})
    assert between(first, second, UNITS) == {ALICE: Usage(100, 10_000.0, 1)}


def test_a_process_that_is_gone_counts_nothing() -> None:
    assert between(at(100, {(1, 50): (ALICE, 300, 1000)}), at(110, {}), UNITS) == {}


def test_a_pid_used_again_is_another_process() -> None:
    before = at(100, {(1, 50): (ALICE, 9_000, 1000)})
    after = at(110, {(1, 10_900): (BOB, 60, 2000)})
    assert between(before, after, UNITS) == {BOB: Usage(60, 2000.0, 1)}


def test_a_counter_that_went_back_was_reset() -> None:
    before = at(100, {(1, 50): (ALICE, 9_000, 0)})
    assert between(before, at(110, {(1, 50): (ALICE, 25, 0)}), UNITS)[ALICE].cpu_ticks == 25


def test_a_missed_scrape_loses_no_cpu() -> None:
    scans = [at(100 + 10 * turn, {(1, 50): (ALICE, 100 * turn, 500)}) for turn in range(4)]
    every = [between(a, b, UNITS)[ALICE] for a, b in pairwise(scans)]
    with_one_missed = [between(scans[0], scans[2], UNITS)[ALICE], between(scans[2], scans[3], UNITS)[ALICE]]
    assert sum(usage.cpu_ticks for usage in every) == sum(usage.cpu_ticks for usage in with_one_missed) == 300


def test_a_process_that_changed_its_user_counts_for_the_last_one() -> None:
    before = at(100, {(1, 50): (ALICE, 0, 0)})
    assert list(between(before, at(110, {(1, 50): (BOB, 10, 0)}), UNITS)) == [BOB]


@pytest.mark.parametrize("boot", [100, 99])
def test_no_time_passed_is_no_usage(boot: float) -> None:
    before = at(100, {(1, 50): (ALICE, 0, 1000)})
    assert between(before, at(boot, {(1, 50): (ALICE, 10, 1000)}), UNITS) == {}


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 1 << 30)), min_size=2, max_size=20), st.data())
def test_cpu_adds_up_to_the_last_counter_however_many_scrapes_are_missed(
    steps: list[tuple[int, int]], data: st.DataObject
) -> None:
    ticks, scans = 0, []
    for turn, (grown, rss) in enumerate(steps):
        ticks += grown
        scans.append(at(100 + turn, {(1, 50): (ALICE, ticks, rss)}))
    kept = [scan for scan in scans[1:-1] if data.draw(st.booleans())]
    taken = [scans[0], *kept, scans[-1]]
    used = sum(between(a, b, UNITS)[ALICE].cpu_ticks for a, b in pairwise(taken))
    assert used == ticks - steps[0][0]
