"""What a relay says of its own load."""

from __future__ import annotations

import time

import pytest

from meterfabric_relay.cpu_limit import CpuLimit
from meterfabric_relay.load import WINDOW, Gauge, LoadMeter, Reading

FULL = {"billing": (1_000, 1_000)}


def meter(cores: float = 1.0) -> LoadMeter:
    """One that begins at 0."""
    return LoadMeter(Reading(0.0, 0.0, 0.0, cores))


def run(
    load: LoadMeter,
    seconds: int,
    *,
    since: int = 0,
    cpu: float = 0.0,
    loop: float = 0.0,
    connections: float = 0.0,
    **credit: float,
) -> None:
    """Second after second at these rates; ``credit``: the share of each sink, which answers all the time."""
    for now in range(since + 1, since + seconds + 1):
        held = {sink: (round(share * 1_000), 1_000) for sink, share in credit.items()}
        load.look(now, held, dict.fromkeys(credit, now))
        load.add(Reading(float(now), cpu * now, loop * now, load.cores, connections))


def test_processor_time_counts_against_the_limit() -> None:
    load = meter(cores=0.25)
    run(load, 10, cpu=0.2, loop=0.15)
    assert load.shares == {"cpu": pytest.approx(0.8), "loop": pytest.approx(0.15), "credit": 0.0, "connections": 0.0}
    assert load.utilization == pytest.approx(0.8)


def test_a_busy_loop_counts_although_there_are_cores_left() -> None:
    load = meter(cores=4.0)
    run(load, 10, cpu=1.1, loop=0.97)
    assert load.utilization == pytest.approx(0.97)


def test_the_fullest_sinks_memory_counts() -> None:
    load = meter()
    run(load, 10, billing=0.2, archive=0.9)
    assert load.utilization == pytest.approx(0.9)


def test_silent_producers_count_by_their_connections() -> None:
    load = meter()
    run(load, 100, connections=0.9)
    assert load.utilization == pytest.approx(0.9)
    run(load, 5, since=100, connections=0.3)
    assert load.utilization == pytest.approx((10 * 0.9 + 5 * 0.3) / WINDOW)


def test_shares_are_means_of_the_window_and_forget_what_was_before() -> None:
    load = meter()
    run(load, 100, billing=1.0)
    run(load, 5, since=100, billing=0.0)
    assert load.utilization == pytest.approx(10 / WINDOW)
    run(load, 10, since=105, billing=0.0)
    assert load.utilization == 0.0
    assert load.covered == WINDOW


def test_a_young_relay_tells_how_little_it_knows() -> None:
    load = meter()
    assert (load.covered, load.utilization) == (0.0, 0.0)
    run(load, 4, cpu=0.5)
    assert (load.covered, load.utilization) == (4.0, pytest.approx(0.5))


def test_memory_that_waits_for_a_sink_which_answers_nothing_is_no_load() -> None:
    load = meter()
    for now in range(1, 60):
        load.look(now, FULL, {"billing": 17})
        load.add(Reading(float(now), 0.0, 0.0, 1.0))
    assert load.utilization == 0.0
    load.look(60, FULL, {"billing": 18})
    load.add(Reading(60.0, 0.0, 0.0, 1.0))
    assert load.utilization > 0.0


def test_a_sink_that_had_nothing_to_answer_was_not_silent() -> None:
    load = meter()
    for now in range(1, 60):
        load.look(now, {"billing": (0, 1_000)}, {})
        load.add(Reading(float(now), 0.0, 0.0, 1.0))
    load.look(60, FULL, {})
    load.add(Reading(60.0, 0.0, 0.0, 1.0))
    assert load.utilization > 0.0


def test_shares_end_at_one_whatever_the_clocks_say() -> None:
    load = meter(cores=0.1)
    run(load, 3, cpu=2.0, loop=1.5, connections=1.1, billing=1.5)
    assert set(load.shares.values()) == {1.0}


def test_a_loop_that_computes_is_busy() -> None:
    gauge = Gauge(CpuLimit())
    before = gauge.read(0.0)
    until = time.thread_time() + 0.2
    while time.thread_time() < until:
        sum(range(1_000))
    after = gauge.read(0.0)
    assert after.loop - before.loop >= 0.19
    assert after.cpu - before.cpu >= 0.19
