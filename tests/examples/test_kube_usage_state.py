"""What the agent keeps over its own death, and the events it makes."""

from datetime import UTC, datetime
from pathlib import Path

from kube_usage.events import TYPE, Event, event, source
from kube_usage.scan import Container, Pod, Reading, Scan
from kube_usage.state import load, save, step
from kube_usage.usage import Usage
from meterfabric_client.event import compose

T = 1_800_000_000_123
WEB = Pod("shop", "web-0")


def at(seconds: int) -> Scan:
    return Scan(
        T + seconds * 1000 + 7,
        {WEB: Reading(T + seconds * 1000, seconds * 1_500_000_000, 2048, (Container(T - 5, 1),))},
    )


def sent(each: Event) -> bytes:
    """The event as the client library sends it."""
    return compose(source("node-1"), each.type, each.subject, each.data, each.id, each.time, {})


def test_an_event_says_who_used_how_much_from_when_to_when() -> None:
    made = event(Usage(WEB, T, T + 60_000, 1_234_567_890, 2_000_499), "node-1", T + 61_000)
    assert made == Event(
        id=f"shop/web-0@{T + 61_000}",
        subject="shop/web-0",
        time=datetime(2027, 1, 15, 8, 1, 0, 123000, tzinfo=UTC),
        data={
            "namespace": "shop",
            "pod": "web-0",
            "node": "node-1",
            "cpu_core_seconds": 1.23456789,
            "memory_byte_seconds": 2000,
            "interval_start": "2027-01-15T08:00:00.123+00:00",
            "interval_end": "2027-01-15T08:01:00.123+00:00",
        },
        type=TYPE,
    )
    assert source("node-1") == "//node-1/kubelet"


def test_the_first_scan_of_a_node_begins_and_the_next_one_bills() -> None:
    first = step(None, "node-1", at(0))
    assert first.outbox == []
    second = step(first, "node-1", at(10))
    assert [each.data["cpu_core_seconds"] for each in second.outbox] == [15.0]
    assert [each.data["memory_byte_seconds"] for each in second.outbox] == [20480]


def test_another_nodes_state_is_no_beginning_of_ours() -> None:
    assert step(step(None, "node-1", at(0)), "node-2", at(10)).outbox == []


def test_what_is_saved_is_found_again_and_its_events_are_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "state"
    assert load(path) is None
    state = step(step(None, "node-1", at(0)), "node-1", at(10))
    save(path, state)
    found = load(path)
    assert found == state
    assert found is not None
    assert [sent(each) for each in found.outbox] == [sent(each) for each in state.outbox]
    assert [each.name for each in tmp_path.iterdir()] == ["state"]


def test_a_state_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"\x00 something else")
    assert load(tmp_path / "state") is None
