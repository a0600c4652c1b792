"""A wall clock that jumps by a month, on a sidecar or on a sink: nothing expires by it, and all is delivered."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import books
from tests.faults.fabric import Fabric
from tests.faults.load import Load
from tests.faults.process import Process, wait_until

pytestmark = pytest.mark.fault

_MONTH = 30 * 86_400


class Clock:
    """The wall clock of one process that is yet to be started."""

    def __init__(self, process: Process, file: Path) -> None:
        self._file = file
        process.launcher = [str(Path(__file__).with_name("clocked.py"))]
        process.environment = {"FAULTS_CLOCK": str(file)}
        self.set(0)

    def set(self, ahead: float) -> None:
        """So many seconds ahead of everybody else's."""
        whole = self._file.with_suffix(".new")
        whole.write_text(str(ahead))
        whole.rename(self._file)


def more(load: Load, records: int) -> None:
    """Wait until so many more records are accepted."""
    goal = load.count + records
    wait_until(lambda: load.count >= goal, f"{records} more records accepted")


@pytest.mark.parametrize("jump", [_MONTH, -_MONTH], ids=["ahead", "behind"])
def test_a_sidecars_clock_that_jumps_expires_nothing(fabric: Fabric, jump: float) -> None:
    relay = fabric.add_relay("relay-0")
    fabric.add_sink("billing", "sqlite", expiry=3_600.0)
    away = fabric.add_sink("away", "file", expiry=3_600.0)
    sidecar = fabric.add_sidecar("pod")
    clock = Clock(sidecar, fabric.folder / "clock")
    fabric.start()
    with fabric.load("pod") as load:
        more(load, 100)
        fabric.settle()
        away.worker.kill()
        more(load, 100)
        clock.set(jump)
        more(load, 300)
        delivered = fabric.status("pod")["sinks"]["billing"]["delivered"]
        wait_until(
            lambda: fabric.status("pod")["sinks"]["billing"]["delivered"] > delivered + 100, "its session goes on"
        )
        sidecar.restart()
        sidecar.ready()
        more(load, 300)
        wait_until(
            lambda: fabric.metric(relay, "meterfabric_relay_refused_total", reason="stale") > 0,
            "a new session is refused while the clock is wrong",
        )
        clock.set(0)
        more(load, 100)
    away.worker.start()
    fabric.settle()
    for found in books.check(fabric).values():
        assert not found.passed


def test_a_sinks_clock_that_jumps_delays_and_costs_nothing(fabric: Fabric) -> None:
    fabric.add_relay("relay-0")
    fabric.add_sink("billing", "sqlite")
    wrong = fabric.add_sink("wrong", "file")
    clock = Clock(wrong.worker, fabric.folder / "clock")
    fabric.add_sidecar("pod")
    fabric.start()
    with fabric.load("pod") as load:
        more(load, 100)
        wait_until(lambda: fabric.status("pod")["sinks"]["wrong"]["delivered"] > 0, "its session stands")
        clock.set(_MONTH)
        # Certificates are judged by the time that the receipt would carry: a month on, they have lapsed.
        answers = "meterfabric_sink_answers_total"
        wait_until(lambda: fabric.metric(wrong.worker, answers, kind="refused", reason="expired") > 0, "it refuses")
        more(load, 100)
        clock.set(0)
        more(load, 100)
    fabric.settle()
    for found in books.check(fabric).values():
        assert not found.passed
