"""What fuzzing has found so far, run again: no input breaks a decoder any more."""

from pathlib import Path

import pytest

from tests.fuzz.targets import CORPUS, TARGETS, seeds

KEPT = sorted(path for path in CORPUS.glob("*/*"))
SEEDS = [(name, seed) for name, inputs in seeds().items() for seed in inputs]


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_kept_input_breaks_no_decoder(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize(("name", "seed"), SEEDS)
def test_a_vector_breaks_no_decoder(name: str, seed: bytes) -> None:
    TARGETS[name](seed)


def test_every_decoder_has_a_corpus_and_all_are_small() -> None:
    assert {path.parent.name for path in KEPT} == set(TARGETS)
    assert sum(path.stat().st_size for path in KEPT) < 1_000_000
