"""From scans of a node to what each pod consumed."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_usage import usage
from kube_usage.scan import Container, Pod, Reading, Scan
from kube_usage.usage import Usage, advance, begin

WEB, JOB = Pod("shop", "web-0"), Pod("shop", "job-1")
T = 1_800_000_000_000


def reading(at: int, cpu: int, memory: int = 0, start: int | None = -1_000_000, spent: int | None = None) -> Reading:
    """`at` and `start` are milliseconds after T; by default the pod and its only container are much older than any
    scan. `spent`: by its container, where that is not all."""
    running = () if start is None else (Container(T + start, cpu if spent is None else spent),)
    return Reading(T + at, cpu, memory, running)


def scan(at: int, **pods: Reading) -> Scan:
    return Scan(T + at, {{"web": WEB, "job": JOB}[name]: each for name, each in pods.items()})


def used(*scans: Scan) -> list[list[Usage]]:
    """Usage after each scan but the first."""
    books, found = begin(scans[0]), []
    for each in scans[1:]:
        books, usages = advance(books, each)
        found.append(usages)
    return found


def of(pod: Pod, start: int, end: int, cpu: int, memory: int = 0) -> Usage:
    return Usage(pod, T + start, T + end, cpu, memory)


def test_cpu_is_the_growth_and_memory_the_mean_times_the_time() -> None:
    found = used(scan(0, web=reading(0, 300, 1000)), scan(100, web=reading(100, 450, 3000)))
    assert found == [[of(WEB, 0, 100, 150, 200_000)]]


def test_an_interval_is_from_when_the_kubelet_looked_to_when_it_looked() -> None:
    found = used(scan(20, web=reading(7, 0)), scan(50, web=reading(41, 5)), scan(80, web=reading(66, 9)))
    assert found == [[of(WEB, 7, 41, 5)], [of(WEB, 41, 66, 4)]]


def test_a_kubelet_that_did_not_look_again_tells_nothing_new() -> None:
    found = used(scan(0, web=reading(0, 0, 8)), scan(5, web=reading(0, 0, 8)), scan(9, web=reading(9, 4, 8)))
    assert found == [[], [of(WEB, 0, 9, 4, 72)]]


def test_a_clock_that_was_set_back_bills_nothing_until_it_is_past_where_it_was() -> None:
    found = used(scan(100, web=reading(100, 10)), scan(50, web=reading(50, 20)), scan(120, web=reading(120, 30)))
    assert found == [[], [of(WEB, 100, 120, 20)]]


def test_the_first_scan_bills_nothing_and_an_older_pod_counts_from_when_it_is_first_seen() -> None:
    found = used(scan(0), scan(10, web=reading(10, 9_000, 50)), scan(20, web=reading(20, 9_100, 50)))
    assert found == [[], [of(WEB, 10, 20, 100, 500)]]


def test_a_new_pod_counts_whole_and_its_memory_from_its_start() -> None:
    assert used(scan(0), scan(100, web=reading(100, 70, 10, start=60))) == [[of(WEB, 60, 100, 70, 400)]]


def test_a_new_pod_counts_whole_however_late_the_kubelet_tells_of_it() -> None:
    found = used(scan(0), scan(100), scan(200, web=reading(200, 70, 10, start=60)))
    assert found[1] == [of(WEB, 60, 200, 70, 1400)]


def test_a_new_pod_without_a_running_container_counts_from_now_on() -> None:
    assert used(scan(0), scan(100, web=reading(100, 70, start=None))) == [[]]


def test_of_a_pod_never_seen_only_what_is_surely_new_counts() -> None:
    # It was between two restarts when we began: what it used before may be billed.
    assert used(scan(0), scan(100, web=reading(100, 9_000, 10, start=60, spent=7))) == [[of(WEB, 60, 100, 7, 400)]]
    # Its container was looked at after the pod.
    assert used(scan(0), scan(100, web=reading(100, 5, start=60, spent=7))) == [[of(WEB, 60, 100, 5)]]


def test_a_container_that_began_after_its_pod_was_looked_at_counts_in_the_next_interval() -> None:
    found = used(scan(0), scan(9, web=reading(5, 0, start=7, spent=3)), scan(20, web=reading(20, 30, start=7)))
    assert found == [[], [of(WEB, 5, 20, 30)]]


def test_a_restarted_container_changes_nothing_since_its_pods_counter_goes_on() -> None:
    found = used(scan(0, web=reading(0, 50)), scan(10, web=reading(10, 80, start=7)), scan(20, web=reading(20, 90)))
    assert [usages[0].cpu_core_ns for usages in found] == [30, 10]


def test_a_pod_made_anew_under_its_name_counts_whole() -> None:
    found = used(scan(0, web=reading(0, 500, 10)), scan(100, web=reading(100, 30, 20, start=80)))
    assert found == [[of(WEB, 80, 100, 30, 400)]]


def test_a_counter_that_fell_although_the_pod_is_the_same_counts_nothing_until_it_is_past_where_it_was() -> None:
    readings = [reading(0, 500), reading(10, 490), reading(20, 495), reading(30, 510)]
    found = used(*(scan(10 * turn, web=each) for turn, each in enumerate(readings)))
    assert [usages[0].cpu_core_ns for usages in found] == [0, 0, 10]


def test_a_counter_that_fell_while_no_container_runs_waits_until_one_tells_which_pod_it_is() -> None:
    dark = scan(10, web=reading(10, 5, start=None))
    assert used(scan(0, web=reading(0, 500)), dark, scan(20, web=reading(20, 9, start=12))) == [
        [],
        [of(WEB, 12, 20, 9)],
    ]
    assert used(scan(0, web=reading(0, 500)), dark, scan(20, web=reading(20, 502))) == [[], [of(WEB, 0, 20, 2)]]


def test_a_pod_that_is_gone_counts_nothing() -> None:
    assert used(scan(0, web=reading(0, 5)), scan(10)) == [[]]


def test_a_pod_that_a_scan_lacks_has_a_longer_interval_next() -> None:
    found = used(scan(0, web=reading(0, 5)), scan(10), scan(20, web=reading(20, 9, start=15)))
    assert found == [[], [of(WEB, 0, 20, 4)]]


def test_a_pod_back_after_its_reading_was_forgotten_is_not_billed_twice() -> None:
    late = usage.KEEP_MS + 10
    books, _ = advance(begin(scan(0, web=reading(0, 900))), scan(late, job=reading(late, 0)))
    assert WEB not in books.readings
    # Its containers restarted meanwhile, but before anything that we have forgotten would have been seen.
    books, found = advance(books, scan(late + 10, web=reading(late + 10, 950, start=-5)))
    assert found == []


def test_readings_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "MOST_PODS", 3)
    many = {Pod("shop", f"job-{turn}"): reading(turn, 1) for turn in range(5)}
    books, _ = advance(begin(Scan(T, many)), scan(10, web=reading(10, 1)))
    assert sorted(pod.name for pod in books.readings) == ["job-3", "job-4", "web-0"]
    assert books.horizon_ms == T + 4


def test_no_two_scans_have_the_same_time() -> None:
    books = begin(scan(5))
    times = []
    for at in (6, 6, 2, 9):
        books, _ = advance(books, scan(at))
        times.append(books.at_ms - T)
    assert times == [6, 7, 8, 9]


# What may happen to one pod's name. Each step passes time; the kubelet's counters are true, but it may leave the pod
# out, and does where no container runs.
Step = tuple[int, int, str, bool]
STEPS = st.lists(
    st.tuples(
        st.integers(1, 50_000),  # milliseconds
        st.integers(0, 10_000),  # core-nanoseconds used in them
        st.sampled_from(["nothing", "restart", "anew", "down"]),
        st.booleans(),  # whether the scan at the end shows the pod
    ),
    min_size=1,
    max_size=30,
)


def lived(steps: list[Step]) -> list[tuple[Scan, int]]:
    """The scans of such a life, and at each what all its pods have used."""
    found = []
    now, begun = -100_000, -100_000
    cpu = spent = total = 0
    running = True
    for passed, used_now, what, shown in steps:
        if what in ("restart", "anew"):
            cpu, spent = (cpu if what == "restart" else 0), 0
            begun, running = now, True
        elif what == "down":
            running = False
        now += passed
        if running:
            cpu, spent, total = cpu + used_now, spent + used_now, total + used_now
        # A container begins some time after it is made.
        seen = {"web": reading(now, cpu, 1, begun + 1, spent)} if shown and running else {}
        found.append((scan(now, **seen), total))
    return found


@given(STEPS)
def test_whatever_happens_nothing_is_negative_and_no_more_is_billed_than_was_used(steps: list[Step]) -> None:
    life = lived(steps)
    usages = [each for found in used(*(each for each, _ in life)) for each in found]
    assert all(each.cpu_core_ns >= 0 and each.memory_byte_ms >= 0 for each in usages)
    assert sum(each.cpu_core_ns for each in usages) <= life[-1][1] - life[0][1]


@given(STEPS)
def test_intervals_of_a_pod_never_overlap(steps: list[Step]) -> None:
    usages = [each for found in used(*(each for each, _ in lived(steps))) for each in found]
    assert all(each.start_ms <= each.end_ms for each in usages)
    assert all(before.end_ms <= after.start_ms for before, after in pairwise(usages))


@given(STEPS, st.data())
def test_cpu_adds_up_to_the_counter_however_many_scans_are_missed(steps: list[Step], data: st.DataObject) -> None:
    life = lived([(passed, spent, "nothing", True) for passed, spent, _, _ in steps])
    kept = [each for each, _ in life[1:-1] if data.draw(st.booleans())]
    usages = [each for found in used(life[0][0], *kept, life[-1][0]) for each in found]
    assert sum(each.cpu_core_ns for each in usages) == life[-1][1] - life[0][1]
