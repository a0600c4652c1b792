"""Many histories on all processors, and what to print of those that fail."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator

from .history import Failure, attempt
from .minimise import minimise, report


def processors() -> int:
    """How many histories run at a time."""
    return len(os.sched_getaffinity(0))


def failures(seeds: Iterable[int], workers: int | None = None) -> Iterator[tuple[int, int | None]]:
    """Run the histories of all seeds; yields (how many are done, the seed if it failed) after each."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers or processors(), maxtasksperchild=2_000) as pool:
        yield from enumerate(pool.imap_unordered(_attempt, seeds, chunksize=16), 1)


def _attempt(seed: int) -> int | None:
    return None if attempt(seed) is None else seed


def explain(seed: int) -> str:
    """A failing seed, minimised."""
    failure: Failure | None = attempt(seed)
    return f"seed {seed} failed once and holds now" if failure is None else report(minimise(failure))


def campaign(first: int, histories: int, tell: Callable[[str], None], most: int = 3) -> list[str]:
    """Run ``histories`` seeds from ``first`` on; the reports of those that fail, at most ``most``."""
    began = time.monotonic()
    failed: list[int] = []
    for done, seed in failures(range(first, first + histories)):
        if seed is not None:
            failed.append(seed)
            tell(f"seed {seed} fails")
        if done % 1_000 == 0:
            rate = done / (time.monotonic() - began)
            tell(f"{done} of {histories} histories, {len(failed)} failed, {rate:.1f}/s")
        if len(failed) >= most:
            break
    return [explain(seed) for seed in sorted(failed)[:most]]
