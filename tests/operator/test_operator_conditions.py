"""Conditions: what is wrong is said with what to do; times stay as long as the status does."""

from meterfabric_operator import conditions as c
from meterfabric_operator.observed import Child, MeteringPod


def child(ready: int, *, settled: bool = True) -> Child:
    return Child("s", "d", "metering.demo", "", 2, ready, settled)


def test_relays_are_available_when_one_is_ready() -> None:
    assert c.relays_available(None, 2).status == "False"
    assert c.relays_available(child(0), 2).reason == "NoneReady"
    assert (c.relays_available(child(1), 2).status, c.relays_available(child(1), 2).reason) == ("True", "Progressing")
    assert c.relays_available(child(2, settled=False), 2).reason == "Progressing"
    assert c.relays_available(child(2), 2).reason == "AllReady"


def test_every_sink_must_have_a_worker() -> None:
    assert c.sinks_reachable({}).reason == "NoSinks"
    away = c.sinks_reachable({"a": 1, "b": 0, "c": 0})
    assert away.status == "False"
    assert "b, c" in away.message
    assert c.sinks_reachable({"a": 1}).status == "True"


def test_pods_without_a_sidecar_are_named_with_the_reason_and_not_all_of_thousands() -> None:
    pods = [MeteringPod("shop", f"web-{number}", "it was early") for number in range(12)]
    found = c.producers_injected(pods)
    assert found.status == "False"
    assert "shop/web-0 (it was early)" in found.message
    assert "and 7 more" in found.message
    assert c.producers_injected([MeteringPod("shop", "web", "")]).status == "True"


def test_a_fabric_is_ready_when_all_that_it_needs_is() -> None:
    fine, bad = c.identity_ready(""), c.identity_ready("no root has its key")
    assert c.ready([fine, fine]).status == "True"
    found = c.ready([fine, bad])
    assert (found.status, found.reason, found.message) == ("False", bad.reason, bad.message)


def test_the_time_of_a_condition_stays_while_its_status_does() -> None:
    first = c.merged([], [c.identity_ready("")], 1, "t1")
    same = c.merged(first, [c.identity_ready("")], 2, "t2")
    other = c.merged(same, [c.identity_ready("gone")], 3, "t3")
    assert [each[0]["lastTransitionTime"] for each in (first, same, other)] == ["t1", "t1", "t3"]
    assert same[0]["observedGeneration"] == 2


def test_only_a_new_status_or_reason_is_worth_an_event() -> None:
    first = c.merged([], [c.relays_available(child(1), 2)], 1, "t1")
    assert c.changed([], first) == first
    assert c.changed(first, c.merged(first, [c.relays_available(child(1), 3)], 1, "t2")) == []
    news = c.merged(first, [c.relays_available(child(2), 2)], 1, "t2")
    assert c.changed(first, news) == news
