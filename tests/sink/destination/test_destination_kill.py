"""A worker killed with -9 at any moment of a commit: what it acknowledged is there, and all of it verifies."""

import random
import signal
import subprocess
import sys
import time

import pytest

from meterfabric_sink.evidence import open_evidence
from tests.sink.committing import PER_BATCH, log_at
from tests.sink.sink_logs import hold_together

pytestmark = [pytest.mark.integration, pytest.mark.fault]

KILLS = 6
DEADLINE_SECONDS = 60.0


def _run_and_kill(url: str, seconds: float) -> int:
    """Run a committing process for so long after its first commit; returns the last size it acknowledged."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.sink.committing", url], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        started = process.stdout.readline()
        first = process.stdout.readline()
        end = time.monotonic() + seconds
        while time.monotonic() < end:  # a kill at a random moment, not at a condition
            time.sleep(0.002)
        process.kill()
        rest = process.stdout.read().split("\n")
        assert process.wait(DEADLINE_SECONDS) == -signal.SIGKILL
    assert started
    # The last line may have been cut by the kill.
    return int([first, *rest][-2] if rest[:-1] else first)


def test_nothing_acknowledged_is_lost_and_nothing_is_there_twice(sink_url: str) -> None:
    draw = random.Random(20)
    for _ in range(KILLS):
        acknowledged = _run_and_kill(sink_url, draw.uniform(0.0, 0.15))
        with open_evidence(sink_url) as evidence:
            ((origin, size),) = hold_together(evidence).items()
            assert size >= acknowledged
            leaves = [leaf for each in evidence.leaves(origin) for leaf in each.leaves]
            assert leaves == log_at(size).leaves
            assert size % PER_BATCH == 0
