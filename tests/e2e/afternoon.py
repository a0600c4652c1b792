"""An afternoon from its first record to its verdict: load, faults by their schedule, rest, the books."""

import random
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

from tests.cluster.wait import until
from tests.e2e import producers, recovery, verdict
from tests.e2e.faults import KINDS, Fault, RelayKilled
from tests.e2e.ground import Ground, rest
from tests.e2e.measured import Sample, Sampler
from tests.e2e.schedule import Planned, draw
from tests.e2e.verdict import Verdict
from tests.e2e.victims import Nobody
from tests.kubernetes.installed import SECONDS

Say = Callable[[str], None]


@dataclass(frozen=True)
class Happened:
    """A fault as it was: `at` and `until` in seconds from the start, `what` to whom. Not `done`: `what` says why."""

    kind: str
    at: float
    until: float
    what: str
    done: bool


@dataclass(frozen=True)
class Afternoon:
    """What there is to report. `recovery`: seconds, as `recovery.times` has them. `lasted`: with rest and verdict."""

    seed: int
    seconds: float
    pods: int
    happened: tuple[Happened, ...]
    samples: tuple[Sample, ...]
    recovery: tuple[float, ...]
    verdict: Verdict
    lasted: float


def spend(ground: Ground, seed: int, seconds: float, say: Say) -> Afternoon:
    """Spend one; everything is undone at its end. Raises what a fault's undoing raises."""
    producers.start(ground)
    until("all producers send", 5 * SECONDS, lambda: producers.sending(ground) >= producers.PODS)
    planned = draw(seed, seconds, {name: kind for name, (kind, _) in KINDS.items()})
    say(f"seed {seed}: {len(planned)} faults in {seconds:.0f} s")
    begun = time.monotonic()
    deaths: list[recovery.Death] = []
    with Sampler(ground) as sampler:
        happened = _happen(ground, planned, seconds, deaths, say)
        producers.finish(ground)
        rest(ground)
        say("everything is whole again")
        lists = producers.lists(ground)
        verdict.await_delivery(ground, lists)
        producers.leave(ground)
        ended = _ends(ground)
    lists = producers.lists(ground)
    found = verdict.reach(ground, lists)
    if ended:
        found = replace(found, wrong=(*found.wrong, ended))
    return Afternoon(
        seed,
        seconds,
        producers.PODS,
        tuple(happened),
        tuple(sampler.samples),
        tuple(recovery.times(deaths, lists.accepted, found.committed)),
        found,
        round(time.monotonic() - begun, 1),
    )


def _ends(ground: Ground) -> str:
    """Wait until every log has been heard to its end; what there is to say against it."""
    try:
        until("every log is closed", 2 * SECONDS, lambda: verdict.closed(ground))
    except TimeoutError:
        return "not every log was closed"
    return ""


def _happen(
    ground: Ground, planned: Sequence[Planned], seconds: float, deaths: list[recovery.Death], say: Say
) -> list[Happened]:
    begun = time.monotonic()
    with ExitStack() as undone, ThreadPoolExecutor(8, "fault") as threads:
        running = []
        for each in planned:
            _sleep_until(begun + each.at)
            fault = KINDS[each.kind][1]()
            undone.callback(fault.undo, ground)
            running.append(threads.submit(partial(_one, ground, each, fault, begun, say)))
            if isinstance(fault, RelayKilled):
                happened = running[-1].result()
                if happened.done and fault.death is not None:
                    deaths.append(fault.death)
        _sleep_until(begun + seconds)
        return [each.result() for each in running]


def _one(ground: Ground, planned: Planned, fault: Fault, begun: float, say: Say) -> Happened:
    at = round(time.monotonic() - begun, 1)
    try:
        what, done = fault.do(ground, random.Random(planned.seed)), True
    except Nobody as nobody:
        what, done = str(nobody), False
    except subprocess.CalledProcessError as error:
        what, done = " ".join(f"{error} {error.stderr or ''}".split())[-300:], False
    say(f"{at:7.1f} s  {planned.kind}: {what}")
    _sleep_until(begun + planned.until)
    fault.undo(ground)
    ended = round(time.monotonic() - begun, 1)
    if planned.until > planned.at:
        say(f"{ended:7.1f} s  {planned.kind}: over")
    return Happened(planned.kind, at, ended, what, done)


def _sleep_until(moment: float) -> None:
    """The schedule's own time, which nothing tells but the clock."""
    time.sleep(max(0.0, moment - time.monotonic()))
