"""The checker is only worth what it finds: each planted bug breaks a rule within a few histories."""

from __future__ import annotations

import pytest

from .history import attempt
from .mutants import MUTANTS, Mutant
from .plan import make

SEEDS = 300
"""Histories in which a bug must show; most do in the first few."""


def test_at_least_twenty_bugs_are_planted() -> None:
    assert len({mutant.name for mutant in MUTANTS}) >= 20


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_found(mutant: Mutant) -> None:
    with mutant.plant():
        for seed in range(SEEDS):
            if attempt(seed, make(seed, mutant.needs)) is not None:
                return
    pytest.fail(f"{mutant.name}: not found in {SEEDS} histories")
