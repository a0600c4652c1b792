"""The agent's turns, and its loop, with a meter and a kubelet that misbehave."""

import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from kube_usage.agent import Agent
from kube_usage.main import main, run
from kube_usage.scan import Pod, Reading, Scan, ScrapeFailed
from meterfabric_client import BackPressure, Undelivered

WEB = Pod("shop", "web-0")


class Meter:
    """Keeps what it is given; has no room for `full` calls, delivers nothing for `away` flushes."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.full = self.away = 0

    def record(self, *, type: str, data: Any, subject: str, id: str, time: datetime) -> None:
        if self.full:
            self.full -= 1
            raise BackPressure(1, 1, 0.0, "no room")
        self.ids.append(id)

    def flush(self, seconds: float | None = None) -> None:
        if self.away:
            self.away -= 1
            raise Undelivered(1, "away")


class Kubelet:
    """Each scan a second after the one before; `missed` scans fail."""

    def __init__(self) -> None:
        self.second = 0
        self.missed = 0

    def __call__(self) -> Scan:
        if self.missed:
            self.missed -= 1
            raise ScrapeFailed("no answer")
        self.second += 1
        now = self.second * 1000
        return Scan(now, {WEB: Reading(now, now, 1)})


@pytest.fixture
def meter() -> Meter:
    return Meter()


@pytest.fixture
def kubelet() -> Kubelet:
    return Kubelet()


def test_each_turn_sends_what_was_used_since_the_last(meter: Meter, kubelet: Kubelet, tmp_path: Path) -> None:
    agent = Agent(meter, kubelet, "node-1", tmp_path / "state")
    for _ in range(3):
        agent.turn()
    assert meter.ids == ["shop/web-0@2000", "shop/web-0@3000"]
    assert agent.sent == 2


def test_a_missed_scrape_makes_the_next_interval_longer(
    meter: Meter, kubelet: Kubelet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = Agent(meter, kubelet, "node-1", tmp_path / "state")
    agent.turn()
    kubelet.missed = 1
    agent.turn()
    agent.turn()
    assert meter.ids == ["shop/web-0@2000"]
    assert "missed a scrape: no answer" in capsys.readouterr().err


def test_without_room_no_scan_is_taken_and_nothing_is_sent_twice(
    meter: Meter, kubelet: Kubelet, tmp_path: Path
) -> None:
    agent = Agent(meter, kubelet, "node-1", tmp_path / "state")
    agent.turn()
    meter.full, meter.away = 2, 2
    for _ in range(4):
        agent.turn()
    assert (meter.ids, kubelet.second) == (["shop/web-0@2000"], 2)
    agent.turn()
    assert (meter.ids, kubelet.second) == (["shop/web-0@2000", "shop/web-0@3000"], 3)


def test_an_agent_that_died_while_it_sent_sends_the_same_ids_again_and_goes_on(
    meter: Meter, kubelet: Kubelet, tmp_path: Path
) -> None:
    first = Agent(meter, kubelet, "node-1", tmp_path / "state")
    first.turn()
    meter.away = 1
    first.turn()
    second = Agent(meter, kubelet, "node-1", tmp_path / "state")
    second.turn()
    assert meter.ids == ["shop/web-0@2000", "shop/web-0@2000", "shop/web-0@3000"]


def test_a_loop_that_is_told_to_stop_takes_a_last_turn(meter: Meter, kubelet: Kubelet, tmp_path: Path) -> None:
    stop = threading.Event()
    scrape, kubelet_scan = [], kubelet

    def scan() -> Scan:
        scrape.append(1)
        if len(scrape) == 2:
            stop.set()
        return kubelet_scan()

    run(Agent(meter, scan, "node-1", tmp_path / "state"), stop, 0.001)
    assert meter.ids == ["shop/web-0@2000", "shop/web-0@3000"]


def test_an_interval_of_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--kubelet", "127.0.0.1", "--state", "state", "--interval", "0"])
    assert "0 is not above zero" in capsys.readouterr().err
