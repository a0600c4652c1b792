"""Relays that are replaced, and peers that stop reading: others go on, and memory stays within what is stated."""

from __future__ import annotations

import json

import pytest

from tests.faults import books
from tests.faults.fabric import RELAY_MEMORY, Fabric
from tests.faults.process import free_port, wait_until

pytestmark = pytest.mark.fault

MIB = 1 << 20
_BESIDE = 24 * MIB
"""What a relay may take beside the records it holds: ZeroMQ's queues and buffers, and what the allocator keeps."""


def test_a_relay_is_replaced_by_another_and_then_moves_to_another_port(fabric: Fabric) -> None:
    first = fabric.add_relay("relay-0")
    fabric.add_sink("archive")
    fabric.add_sidecar("pod")
    fabric.start()

    def used() -> set[str | None]:
        return {sink["relay"] for log in fabric.status("pod").get("logs", []) for sink in log["sinks"].values()}

    with fabric.load("pod") as load:
        wait_until(lambda: load.count > 200 and used() == {"relay-0"}, "the first relay carries")
        second = fabric.add_relay("relay-1")
        second.start()
        second.ready()
        fabric.list_relays(["relay-1"])
        first.kill()
        before = load.count
        wait_until(lambda: used() == {"relay-1"} and load.count > before + 200, "the second relay carries")
        second.kill()
        second.settings["port"] = free_port()
        second.start()
        fabric.list_relays(["relay-1"])
        second.ready()
        wait_until(lambda: fabric.metric(second, "meterfabric_relay_batches_total") > 5, "it carries at its new port")
    fabric.settle()
    books.check(fabric)


def test_a_sink_that_stops_reading_holds_up_neither_the_other_sink_nor_the_relays_memory(fabric: Fabric) -> None:
    relay = fabric.add_relay("relay-0")
    slow = fabric.add_sink("archive", "file")
    fabric.add_sink("billing", "sqlite")
    for name in ("pod-0", "pod-1"):
        fabric.add_sidecar(name, compression="none")
    fabric.start()
    idle = relay.resident()
    with fabric.load("pod-0", per_post=200, pad=2_000) as one, fabric.load("pod-1", per_post=200, pad=2_000) as two:
        records = "meterfabric_sink_bytes_total"
        wait_until(lambda: one.count and two.count and fabric.metric(slow.worker, records) > 0, "records are with it")
        slow.worker.freeze()
        most = 0
        # Three times what the relay may hold goes to the sink that reads.
        goal = one.count + two.count + 3 * RELAY_MEMORY // 2_000

        def enough() -> bool:
            nonlocal most
            held = json.loads(fabric.page(relay, "/load"))["credit"]
            assert all(sink["held"] <= sink["limit"] for sink in held.values())
            most = max(most, held.get("archive", {}).get("held", 0))
            return one.count + two.count >= goal

        wait_until(enough, "the other sink's clients go on")
    fabric.settle("billing")
    assert most > 0
    assert not fabric.settled("archive")
    print(
        f"relay: {idle / MIB:.1f} MiB idle, {relay.peak() / MIB:.1f} MiB at most; held for the frozen {most / MIB:.1f}"
    )
    assert relay.peak() <= idle + RELAY_MEMORY + _BESIDE
    slow.worker.thaw()
    fabric.settle()
    books.check(fabric)


def test_a_producer_frozen_with_credit_in_hand_does_not_starve_the_others(fabric: Fabric) -> None:
    relay = fabric.add_relay("relay-0", memory=18 * MIB, sinks=2)
    fabric.add_sink("archive")
    frozen = fabric.add_sidecar("pod-0", compression="none")
    fabric.add_sidecar("pod-1", compression="none")
    fabric.start()
    idle = relay.resident()
    with fabric.load("pod-0", per_post=200, pad=2_000) as one, fabric.load("pod-1", per_post=200, pad=2_000) as two:
        wait_until(lambda: one.count and two.count, "both were answered")
        frozen.freeze()
        goal = two.count + 40 * MIB // 2_000
        wait_until(lambda: two.count >= goal, "the other one goes on")
        delivered = fabric.status("pod-1")["sinks"]["archive"]["delivered"]
        wait_until(lambda: fabric.status("pod-1")["sinks"]["archive"]["delivered"] > delivered, "and delivers")
        frozen.thaw()
        before = one.count
        wait_until(lambda: one.count > before, "the frozen one goes on once thawed")
    fabric.settle()
    assert relay.peak() <= idle + 18 * MIB + _BESIDE
    books.check(fabric)


def test_a_largest_batch_reaches_each_of_many_sinks_through_a_relay_of_little_memory(fabric: Fabric) -> None:
    fabric.add_relay("relay-0", memory=MIB, sinks=3)
    for name in ("one", "two", "three"):
        fabric.add_sink(name)
    fabric.add_sidecar("pod", compression="none")
    fabric.start()
    with fabric.load("pod", per_post=32, pad=258_000) as load:
        wait_until(lambda: load.count > 0, "a batch of 8 MB is accepted")
    fabric.settle()
    books.check(fabric)
