"""One, two, three and four relays with equal shares of the processor: what each adds.

The shares are so small that all of them and the load fit on the machine, hence what is missing to four times as much
is the relays' own doing. Both kinds of batches are measured: of one record, where what counts is the relay's work for a
message, and of a thousand, where it is the bytes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from bench import processes
from bench.report import progress, say
from bench.scale.ground import Ground, ground
from bench.scale.loading import loading, wait
from bench.scale.shares import shares

MOST = 4
CORES = 0.15
"""Of each relay."""
PRODUCERS = 48
WARM_UP = 1.5
SECONDS = 5.0


@dataclass(frozen=True)
class Shape:
    """A kind of batch: its name, records and bytes, and how many of a producer may be on their way."""

    name: str
    records: int
    bytes: int
    in_flight: int


SHAPES = (Shape("small", 1, 300, 16), Shape("large", 1000, 300_000, 2))


@dataclass(frozen=True)
class Found:
    """Batches a second, all relays together, and microseconds of their processor for each."""

    rate: float
    cost: float


def measure() -> None:
    """Print the rates, the efficiency, and what a batch costs a relay."""
    for shape in SHAPES:
        found = [_round(count, shape) for count in range(1, MOST + 1)]
        size = f"{shape.records} x 300 B a batch"
        for count, each in enumerate(found, 1):
            note = f"{CORES:.0%} of a processor each; {size}; {each.rate * shape.records:,.0f} records/s"
            say(f"relays_{count}_{shape.name}", each.rate, "batches/s", note)
        for count, each in enumerate(found[1:], 2):
            say(f"efficiency_{count}_{shape.name}", each.rate / count / found[0].rate, "", "of linear")
        say(f"relay_batch_{shape.name}", found[0].cost, "us", f"of processor; {size}")


def _round(count: int, shape: Shape) -> Found:
    with ground() as here, shares(count, CORES) as places:
        try:
            relays = [here.start(f"relay-{number}") for number in range(count)]
            here.list_relays(relays)
            for relay, place in zip(relays, places, strict=True):
                place.take(relay.pid)
            found = _load(here, [relay.pid for relay in relays], shape)
        finally:
            here.stop()  # before their cgroups are removed
    progress(f"{count} relays, {shape.name}: {found.rate:,.0f} batches/s, {found.cost:.1f} us each")
    return found


def _load(here: Ground, pids: list[int], shape: Shape) -> Found:
    worker, pods = here.write_peers("sink", [here.sink()]), here.write_peers("pods", here.producers(PRODUCERS))
    with loading(here, "echo", "up", worker) as sink:
        wait(lambda: sink.now() == len(pids), "the worker is welcome at every relay", [sink])
        options = {"bytes": shape.bytes, "in_flight": shape.in_flight, "count": PRODUCERS}
        with loading(here, "pump", "answered", pods, **options) as pump:
            wait(lambda: pump.now() > 0, "batches pass", [sink, pump])
            time.sleep(WARM_UP)
            first, used = pump.told[-1], sum(map(processes.cpu_seconds, pids))
            time.sleep(SECONDS)
            last, used = pump.told[-1], sum(map(processes.cpu_seconds, pids)) - used
    batches = last.number - first.number
    return Found(batches / (last.at - first.at), used / batches * 1e6)
