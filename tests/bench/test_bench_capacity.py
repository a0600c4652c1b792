"""The capacity model: points read back, arithmetic that a person can follow, and a page that says what it computes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from bench import capacity
from bench.capacity import Check, points_of, predictions, write
from bench.model import DISCOVERY, NAMES, Costs, Load, RelayPod, breaks, costs, plan
from bench.points import read
from bench.report import say
from meterfabric_relay.memory_limit import connections_in

ROUND = Costs(
    relay_batch=100e-6,
    relay_byte=1e-9,
    relay_idle=10e-6,
    connection=1e-3,
    sink_batch=400e-6,
    sink_record=1e-6,
    sink_rate=1_000,
    database_rate=100_000,
    disk_batch=2_000,
    disk_record=1_000,
    wal_batch=2_000,
    wal_record=1_000,
)
RELAY = RelayPod(cores=1.0, memory=1 << 30, records=24 << 20, connections=10_000)


def test_what_a_measurement_says_is_read_back(capsys: pytest.CaptureFixture[str]) -> None:
    say("rate", 1234567, "batches/s", "of some")
    say("tiny", 0.0000123)
    say("machine", "AMD EPYC, 2 cores")
    found = read(capsys.readouterr().out)
    assert {name: point.value for name, point in found.items()} == {"rate": 1_234_567, "tiny": 1.23e-05}
    assert found["rate"].line == "rate: 1,234,567 batches/s (of some)"


def test_a_message_opens_a_batch_and_what_comes_while_it_is_open_comes_along() -> None:
    assert Load(100, 1.0).batches == pytest.approx(100, rel=0.01)
    assert Load(100, 1_000.0, delay=0.002).batches == pytest.approx(100 * 1_000 / 3)
    assert Load(100, 100.0, together=100.0).batches == pytest.approx(100, rel=0.01)
    assert Load(100, 100.0, together=100.0).records == 10_000


def test_busy_producers_take_relays_for_their_processor() -> None:
    found = plan(Load(30_000, 1.0, delay=0.0), ROUND, RELAY)
    # 30,000 batches at 100.3 us, and 60,000 sessions at 10 us.
    assert found.relay_cores == pytest.approx(3.009 + 0.6)
    assert found.relays_because == "connections"
    found = plan(Load(30_000, 10.0, delay=0.0), ROUND, RELAY)
    assert (found.relays, found.relays_because) == (40, "processor")  # 30.69 cores, planned at 80 %, and one


def test_silent_producers_take_relays_for_their_sessions() -> None:
    found = plan(Load(40_000, 0.001), ROUND, RELAY)
    assert (found.relays, found.relays_because) == (11, "connections")
    small = dataclasses.replace(RELAY, memory=256 << 20)
    assert small.sessions == connections_in(small.memory, small.records) < RELAY.sessions
    assert plan(Load(40_000, 0.001), ROUND, small).relays_because == "memory"


def test_one_relay_and_one_worker_may_always_die() -> None:
    found = plan(Load(1, 0.001), ROUND, RELAY)
    assert (found.relays, found.workers, found.databases, found.fabrics) == (2, 2, 1, 1)


def test_a_relays_death_is_over_when_all_have_looked_or_when_all_have_shaken_hands() -> None:
    few = plan(Load(1_000, 0.001), ROUND, RELAY)
    assert few.storm == DISCOVERY
    slow = dataclasses.replace(ROUND, connection=20e-3)
    assert plan(Load(1_000, 0.001), slow, RELAY).storm == pytest.approx(1_000 * 20e-3)


def test_disk_grows_with_batches_and_with_records() -> None:
    apart, together = plan(Load(100, 10.0, delay=0.0), ROUND), plan(Load(100, 10.0, together=10.0, delay=0.0), ROUND)
    assert apart.disk == pytest.approx(1_000 * 3_000 * 86_400)
    assert together.disk == pytest.approx((100 * 2_000 + 1_000 * 1_000) * 86_400)


def test_more_than_a_fabric_can_have_is_divided_and_says_why() -> None:
    found = plan(Load(1_000_000, 0.0001), ROUND, RELAY)
    assert (found.fabrics, found.fabrics_because) == (7, "pods of a cluster")
    found = plan(Load(10_000, 100.0), ROUND, RELAY)
    assert found.fabrics == 13
    assert found.databases == found.fabrics
    assert found.rows == pytest.approx(1_000_000 / 13)


def test_limits_are_told_in_the_order_in_which_they_are_met() -> None:
    found = breaks(1.0, ROUND, RELAY)
    assert [pods for pods, _, _ in found] == sorted(pods for pods, _, _ in found)
    assert found[0][1] == "one worker's commits"
    assert breaks(0.001, ROUND, RELAY)[0][1] == "two relays' `maxConnections`"


def test_a_prediction_that_is_far_off_is_told() -> None:
    assert Check("x", 1.0, 1.4, "s").holds
    assert Check("x", 1.4, 1.0, "s").holds
    assert not Check("x", 1.0, 1.6, "s").holds


def block(page: str) -> str:
    """The points that the page shows."""
    return page.partition("<!-- points -->")[2].partition("<!-- end -->")[0]


def test_the_page_says_what_its_points_give() -> None:
    page, readme = capacity.PAGE.read_text(), capacity.README.read_text()
    points = points_of(page, readme)
    assert set(NAMES) <= points.keys()
    assert write(page, block(page), readme) == page
    assert len(list(predictions(costs(points), points))) == 5


def test_another_runs_points_are_taken_with_all_that_follows_from_them() -> None:
    page, readme = capacity.PAGE.read_text(), capacity.README.read_text()
    dear = block(page).replace("relay_batch_small: ", "relay_batch_small: 9")
    changed = write(page, dear, readme)
    assert costs(points_of(changed, readme)).relay_batch > 10 * costs(points_of(page, readme)).relay_batch
    assert changed != page
    assert write(changed, block(page), readme) == page


def test_holding_a_file_to_the_model_fails_where_the_machine_is_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "points.txt"
    file.write_text("relay_batch_small: 9,000 us (of processor)\n")
    monkeypatch.setattr("sys.argv", ["capacity", "--check", str(file)])
    assert capacity.main() == 1
    told = {line.partition(":")[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "times apart" in told["relay_batch_small"]
    assert "times apart" not in told["relays_4_small"]
