"""Five thousand producers on one relay: what they cost while they are silent, and how they come back after its death.

They are real to the relay: a CURVE handshake, a certificate and a HELLO each, heartbeats. A sidecar holds two sessions,
so five thousand are what each of two relays has of 5,000 pods, and each of twenty of 50,000.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable

from bench import processes
from bench.report import progress, say
from bench.scale.ground import Relay, ground
from bench.scale.loading import Loading, Told, loading, wait

PRODUCERS = 5_000
SWARMS = 2
"""Processes that hold them: each takes four file descriptors for a producer."""
IDLE_SECONDS = 10.0
_SETTLE_SECONDS = 3.0
_STORM_SECONDS = 120.0
_KIB = 2**10


def measure(producers: int = PRODUCERS) -> None:
    """Print memory, idle processor time, and both storms."""
    with ground() as here:
        progress(f"{producers:,} certificates")
        pods = here.write_peers("pods", here.producers(producers))
        first = here.start("relay-0")
        here.list_relays([first])
        empty = processes.memory(first.pid).rss
        with contextlib.ExitStack() as stack:
            begun, used = time.monotonic(), processes.cpu_seconds(first.pid)
            each = producers // SWARMS
            swarms = [
                stack.enter_context(loading(here, "swarm", "up", pods, first=number * each, count=each))
                for number in range(SWARMS)
            ]
            all_up = wait(lambda: _up(swarms) == producers, "every producer is welcome", swarms, _STORM_SECONDS)
            used = processes.cpu_seconds(first.pid) - used
            say("connecting", all_up - begun, "s", f"{producers:,} producers, their processes' start included")
            say("connecting_cpu", used / producers * 1e3, "ms", "of the relay's processor for each, all included")
            _silence(first, producers, empty)
            second = here.start("relay-1")

            def elsewhere() -> Relay:
                here.list_relays([second])
                return second

            _storm("storm_elsewhere", swarms, first, elsewhere, "another relay, listed at once")
            _storm(
                "storm_same_place",
                swarms,
                second,
                lambda: here.start("relay-1", second.port),
                "a new relay at the same address, started at the kill",
            )


def _silence(relay: Relay, producers: int, empty: int) -> None:
    time.sleep(_SETTLE_SECONDS)
    held = processes.memory(relay.pid).rss
    say("producer_memory", (held - empty) / producers / _KIB, "KiB", f"{held / 2**20:.0f} MiB RSS with {producers:,}")
    used = processes.cpu_seconds(relay.pid)
    time.sleep(IDLE_SECONDS)
    used = processes.cpu_seconds(relay.pid) - used
    share = used / IDLE_SECONDS
    say("producers_idle", share * 1e2, "%", f"of a processor, {producers:,} silent for {IDLE_SECONDS:.0f} s")
    say("session_idle", share / producers * 1e6, "us/s", "of a processor, each")


def _storm(name: str, swarms: list[Loading], dying: Relay, heir: Callable[[], Relay], note: str) -> None:
    """Kill a relay, and say how its producers come to another."""
    count = _up(swarms)
    killed = time.monotonic()
    dying.kill()
    relay = heir()
    used = processes.cpu_seconds(relay.pid)
    wait(lambda: _up(swarms) < count, "the producers see the death", swarms)
    back = wait(lambda: _up(swarms) == count, "every producer is welcome again", swarms, _STORM_SECONDS)
    used = processes.cpu_seconds(relay.pid) - used
    say(name, back - killed, "s", f"{count:,.0f} producers from kill -9 to the last welcome; {note}")
    arrivals = came([swarm.told for swarm in swarms], killed)
    say(f"{name}_half", reached(arrivals, count / 2) - killed, "s", "until half of them")
    say(f"{name}_peak", most_in_a_second(arrivals), "producers/s", "most in a second")
    say(f"{name}_cpu", used, "s", "of the relay's processor")


def _up(swarms: list[Loading]) -> float:
    return sum(swarm.now() for swarm in swarms)


def came(swarms: list[list[Told]], since: float) -> list[tuple[float, float]]:
    """(When, how many) came to stand after that moment, in order."""
    steps = [pair for told in swarms for pair in itertools.pairwise(told)]
    return sorted((to.at, to.number - of.number) for of, to in steps if to.at > since and to.number > of.number)


def reached(arrivals: list[tuple[float, float]], count: float) -> float:
    """When so many had come. Raises RuntimeError where they never did."""
    total = 0.0
    for at, number in arrivals:
        total += number
        if total >= count:
            return at
    raise RuntimeError(f"{total:.0f} came, never {count:.0f}")


def most_in_a_second(arrivals: list[tuple[float, float]]) -> float:
    """The most that came within any second."""
    return max(
        (sum(number for when, number in arrivals if at - 1 < when <= at) for at, _ in arrivals),
        default=0.0,
    )
