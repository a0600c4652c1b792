"""Relays and workers that come and go under load, as a scaler has it: one, three, one. Nothing is lost or doubled."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from meterfabric_protocol.delivery.rendezvous import best
from tests.faults import books
from tests.faults.fabric import Fabric
from tests.faults.process import PATIENCE, wait_until
from tests.sink.postgres_server import PostgresServer

pytestmark = pytest.mark.fault

PODS = ("pod-0", "pod-1", "pod-3")
"""Of three relays each has another for its own."""
PATIENT = 4 * PATIENCE
"""Seconds that an answer is waited for: nothing is sent again because this machine is slow."""


@pytest.fixture
def loaded(fabric: Fabric) -> Iterator[Fabric]:
    """One relay, one sink, and sidecars whose clients send all the time."""
    fabric.add_relay("relay-0")
    fabric.add_sink("archive", "sqlite")
    for pod in PODS:
        fabric.add_sidecar(pod, receipt_timeout=PATIENT)
    fabric.start()
    with contextlib.ExitStack() as running:
        for pod in PODS:
            running.enter_context(fabric.load(pod, pace=0.03))
        wait_until(lambda: carried(fabric, ["relay-0"]), "the first relay carries all")
        yield fabric


def carried(fabric: Fabric, relays: list[str]) -> bool:
    """Whether each sidecar uses the relay that is its own among these."""
    for pod in PODS:
        used = {sink["relay"] for log in fabric.status(pod).get("logs", []) for sink in log["sinks"].values()}
        if used != {best(f"tests/{pod}", relays)}:
            return False
    return True


def go_on(fabric: Fabric) -> None:
    """Wait until every client was answered a few times more."""
    goals = [(load, load.count + 100) for load in fabric.loads]
    wait_until(lambda: all(load.count >= goal for load, goal in goals), "all clients go on")


def again(fabric: Fabric) -> float:
    """Batches that the sink was given although it had them."""
    worker = fabric.sinks["archive"].worker
    receipts = fabric.metric(worker, "meterfabric_sink_answers_total", kind="receipt")
    return receipts - fabric.metric(worker, "meterfabric_sink_batches_total")


def test_relays_grow_to_three_and_shrink_to_one_under_load(loaded: Fabric) -> None:
    fabric, three = loaded, ["relay-0", "relay-1", "relay-2"]
    for name in three[1:]:
        fabric.add_relay(name).start()
    for name in three[1:]:
        fabric.relays[name].ready()
    fabric.list_relays(three)
    wait_until(lambda: carried(fabric, three), "each of three carries its share")
    go_on(fabric)
    for name in three[1:]:
        # Still listed: what Kubernetes tells of a pod that ends arrives later than its SIGTERM.
        assert fabric.relays[name].stop() == 0
    wait_until(lambda: carried(fabric, ["relay-0"]), "the first relay carries all again")
    fabric.list_relays(["relay-0"])
    go_on(fabric)
    for load in fabric.loads:
        load.stop()
    fabric.settle()
    assert again(fabric) == 0
    held = books.check(fabric)["archive"]
    assert not held.passed
    assert sum(fabric.alarms(pod, "refused") for pod in PODS) == 0
    print(f"{sum(load.count for load in fabric.loads)} records")


def test_a_sinks_workers_grow_to_three_and_shrink_to_one_under_load(fabric: Fabric, postgres: PostgresServer) -> None:
    relay = fabric.add_relay("relay-0")
    sink = fabric.add_sink("billing", url=postgres.new_database(), workers=3)
    for pod in PODS:
        fabric.add_sidecar(pod)
    first, *others = sink.workers
    sink.workers = [first]
    fabric.start()
    with contextlib.ExitStack() as running:
        for pod in PODS:
            running.enter_context(fabric.load(pod, pace=0.03))
        go_on(fabric)
        sink.workers = [first, *others]
        for worker in others:
            worker.start()
        wait_until(lambda: fabric.metric(relay, "meterfabric_relay_workers") == 3, "three workers take batches")
        goal = fabric.metric(relay, "meterfabric_relay_batches_total") + 100
        wait_until(lambda: fabric.metric(relay, "meterfabric_relay_batches_total") >= goal, "batches go to them")
        # Which of them has which log is by lot.
        shares = [fabric.metric(worker, "meterfabric_sink_batches_total") for worker in sink.workers]
        for worker in others:
            assert worker.stop() == 0
        go_on(fabric)
    sink.workers = [first]
    fabric.settle()
    assert fabric.metric(relay, "meterfabric_relay_unanswered_total") == 0
    assert not books.check(fabric)["billing"].passed
    print(f"{sum(load.count for load in fabric.loads)} records; batches by worker {shares}")
