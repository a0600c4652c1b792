"""Ten thousand histories, the same ones every time; `make soak` runs others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .history import attempt
from .minimise import minimise, report

HISTORIES = 10_000
PORTION = 50


@pytest.mark.parametrize("first", range(0, HISTORIES, PORTION))
def test_the_books_hold_after_every_history(first: int) -> None:
    for seed in range(first, first + PORTION):
        failure = attempt(seed)
        if failure is not None:
            pytest.fail(report(minimise(failure)))


def test_a_seed_is_one_history_in_every_process() -> None:
    def trace(hash_seed: str) -> bytes:
        command = [sys.executable, "-m", "tests.simulation", "--seed", "31", "--trace"]
        environment = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(path for path in sys.path if path)}
        root = Path(__file__).parent.parent.parent
        return subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True).stdout

    assert trace("1") == trace("2")
