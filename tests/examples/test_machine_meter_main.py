"""The meter's loop: every second of CPU is in exactly one event, whatever is missed or refused on the way."""

import itertools
import threading
from datetime import datetime
from typing import Any

from machine_meter.main import run
from machine_meter.proc import ProcessKey, Reading, Scan, Units
from meterfabric_client import BackPressure

UNITS = Units(ticks_per_second=100, page_bytes=4096)
KEY = ProcessKey(1, 50)


class Machine:
    """One process that uses one CPU; the clock moves a second at each scrape, and the last one stops the loop."""

    def __init__(self, scrapes: int, missed: tuple[int, ...] = ()) -> None:
        self.stop = threading.Event()
        self._turns = itertools.count(1)
        self._scrapes = scrapes
        self._missed = missed

    def scrape(self) -> Scan:
        turn = next(self._turns)
        if turn == self._scrapes:
            self.stop.set()
        if turn in self._missed:
            raise OSError("no /proc")
        return Scan(1_800_000_000.0 + turn, 100.0 + turn, {KEY: Reading(0, 100 * turn, 4096)})


class Recorder:
    """Keeps what is recorded; has no room at the calls named in `full`."""

    def __init__(self, full: tuple[int, ...] = ()) -> None:
        self.seconds: list[float] = []
        self._calls = itertools.count(1)
        self._full = full

    def record(self, *, type: str, data: Any, subject: str, id: str, time: datetime) -> None:
        if next(self._calls) in self._full:
            raise BackPressure(1, 300, 0.0, "full")
        self.seconds.append(data["cpu_seconds"])


def metered(machine: Machine, recorder: Recorder) -> int:
    return run(recorder, machine.scrape, UNITS, machine.stop, interval=0.001, duration=None)


def test_each_interval_is_one_event_for_the_user() -> None:
    recorder = Recorder()
    assert metered(Machine(scrapes=4), recorder) >= 3
    assert set(recorder.seconds) == {1.0}


def test_a_missed_scrape_makes_the_next_interval_longer() -> None:
    recorder = Recorder()
    metered(Machine(scrapes=4, missed=(3,)), recorder)
    assert recorder.seconds[:2] == [1.0, 2.0]


def test_an_event_that_found_no_room_is_sent_later_and_once() -> None:
    machine, recorder = Machine(scrapes=4), Recorder(full=(2, 3))
    sent = metered(machine, recorder)
    assert sent == len(recorder.seconds) >= 3
    assert set(recorder.seconds) == {1.0}
