"""SIGKILL at random moments under load: nothing lost, nothing doubled, nothing out of order."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable

import pytest

from tests.faults import books
from tests.faults.fabric import Fabric
from tests.faults.process import Process, wait_until
from tests.sink.postgres_server import PostgresServer

pytestmark = pytest.mark.fault

_START_CPU = 0.8
"""Processor seconds that a component takes to start, about: kills fall before and after its first socket."""


@pytest.fixture
def whole(fabric: Fabric, postgres: PostgresServer) -> Fabric:
    """Two of everything, and every kind of destination."""
    for name in ("relay-0", "relay-1"):
        fabric.add_relay(name)
    fabric.add_sink("archive", "file")
    fabric.add_sink("embedded", "sqlite")
    fabric.add_sink("billing", url=postgres.new_database(), workers=2)
    for name in ("pod-0", "pod-1"):
        fabric.add_sidecar(name)
    return fabric.start()


def storm(fabric: Fabric, victims: list[Process], kills: int, accepted: Callable[[], int], dice: random.Random) -> None:
    """Kill one of the victims again and again, each time at a moment of its own, and start it anew at once."""
    for _ in range(kills):
        victim = dice.choice(victims)
        # How far it gets is measured in its own work, wherever that may be: amid its start, or amid what it carries.
        cpu = dice.uniform(0.0, 2.0 * _START_CPU)
        goal = accepted() + dice.randint(0, 1_000)
        wait_until(lambda: victim.cpu_seconds() >= cpu or accepted() >= goal, "a moment to strike")  # noqa: B023
        victim.restart()
    for victim in victims:
        victim.ready()


@pytest.mark.parametrize(
    ("roles", "kills"),
    [(("sidecars",), 60), (("relays",), 50), (("workers",), 60), (("sidecars", "relays", "workers"), 50)],
    ids=["sidecars", "relays", "workers", "all"],
)
def test_kills_under_load_cost_no_record_and_double_none(whole: Fabric, roles: tuple[str, ...], kills: int) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    workers = [worker for sink in whole.sinks.values() for worker in sink.workers]
    of = {"sidecars": [*whole.sidecars.values()], "relays": [*whole.relays.values()], "workers": workers}
    victims = [process for role in roles for process in of[role]]
    with contextlib.ExitStack() as running:
        loads = [running.enter_context(whole.load(name)) for name in whole.sidecars]
        loads += [running.enter_context(whole.zmq_load(name)) for name in whole.sidecars]
        wait_until(lambda: min(load.count for load in loads) > 0, "every client was answered")
        storm(whole, victims, kills, lambda: sum(load.count for load in loads), random.Random(seed))
        before = [load.count for load in loads]
        wait_until(lambda: all(load.count > b for load, b in zip(loads, before, strict=True)), "all go on afterwards")
    whole.settle()
    found = books.check(whole)
    assert sum(victim.kills for victim in victims) == kills
    for held in found.values():
        assert not held.passed, "no record was given up"
        assert not held.equivocations
    print(
        f"{kills} kills of {'/'.join(roles)}; {sum(load.count for load in loads)} records accepted,"
        f" {sum(load.broken for load in loads)} posts left without an answer and repeated"
    )
