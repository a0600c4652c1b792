"""What `k8s status` makes of a cluster's objects."""

from typing import Any

from meterfabric_cli.in_cluster.fabrics import FabricView, as_text, views

BOOKS = {"accepted": 1200, "delivered": 1100, "pending": 60, "expired": 40, "oldestPending": "95s"}


def condition(kind: str, status: str, reason: str = "Because", message: str = "so it is") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-01-01"}


def fabric(**status: Any) -> dict[str, Any]:
    held = {
        "observedGeneration": 3,
        "conditions": [condition("Ready", "True"), condition("RelaysAvailable", "True")],
        "relays": {"replicas": 2, "ready": 2, "selector": "a=b"},
        "producers": {"namespaces": ["shop"], "injected": 5, "missing": 0},
        "books": BOOKS | {"expired": 0},
        **status,
    }
    return {
        "metadata": {"namespace": "metering", "name": "main", "generation": 3},
        "spec": {"relay": {"replicas": 2}},
        "status": held,
    }


def sink(ready: str = "True", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "metering", "name": "billing"},
        "spec": {"fabric": "main", "workers": 2, "destination": {"postgres": {"url": "postgresql://a"}}, **spec},
        "status": {"conditions": [condition("Ready", ready, "NoWorkerReady", "look there")], "workers": {"ready": 2}},
    }


def only(body: dict[str, Any], *sinks: dict[str, Any]) -> FabricView:
    (found,) = views([body], sinks)
    return found


def test_a_fabric_that_is_well_takes_a_line_and_a_line_for_each_sink() -> None:
    found = only(fabric(), sink())
    assert found.well
    assert found.id == "metering.main"
    assert as_text([found], False) == (
        "fabric         ready  relays  producers  accepted  delivered  pending  oldest\n"
        "metering/main  True   2/2     5             1,200      1,100       60  95s\n"
        "\n"
        "sink              ready  destination  workers  delivered  pending  oldest\n"
        "metering/billing  True   postgres     2/2      -          -        -\n"
    )


def test_what_does_not_hold_is_told_with_its_reason() -> None:
    conditions = [
        condition("Ready", "False", "NoneReady", "0 of 2 relays are ready"),
        condition("RelaysAvailable", "False", "NoneReady", "0 of 2 relays are ready"),
    ]
    found = only(fabric(conditions=conditions), sink("False"))
    assert not found.well
    told = as_text([found], False).splitlines()[-2:]
    assert told == [
        "metering/main: RelaysAvailable is False (NoneReady): 0 of 2 relays are ready",
        "sink metering/billing: Ready is False (NoWorkerReady): look there",
    ]


def test_a_sink_that_is_away_or_an_untrue_condition_is_not_well() -> None:
    assert not only(fabric(), sink("False")).well
    assert not only(fabric(conditions=[condition("Ready", "True"), condition("BooksBalanced", "False")])).well


def test_an_operator_that_has_not_looked_is_told() -> None:
    found = only(fabric(observedGeneration=2))
    assert not found.well
    assert "metering/main: the operator has not looked at its newest version" in as_text([found], False)
    never = only({**fabric(), "status": None})
    assert (never.ready, never.well, never.books) == ("Unknown", False, None)


def test_records_that_are_lost_in_any_way_are_told_and_pods_without_a_sidecar_counted() -> None:
    producers = {"injected": 5, "missing": 2}
    text = as_text([only(fabric(books=BOOKS | {"lost": 3}, producers=producers))], False)
    assert "metering/main: expired 40, lost 3 records; audit tells which\n" in text
    assert "5 (+2 without a sidecar)" in text
    by = [{"pod": "shop/web-0", "records": 7}]
    text = as_text([only(fabric(books=BOOKS | {"abandoned": 7, "abandonedBy": by}))], False)
    assert "expired 40, abandoned 7 records" in text
    assert "metering/main: pod shop/web-0 was gone before its log was closed, 7 records abandoned\n" in text


def test_books_that_nobody_gathered_are_no_zeros() -> None:
    text = as_text([only(fabric(books=None))], False)
    assert text.splitlines()[1].split() == ["metering/main", "True", "2/2", "5", "-", "-", "-", "-"]
    assert "no books were gathered" in text


def test_an_optional_sink_is_called_that_and_another_fabrics_sink_is_not_ours() -> None:
    assert "postgres (optional)" in as_text([only(fabric(), sink(required=False))], False)
    assert only(fabric(), sink(fabric="other")).sinks == []


def test_on_a_terminal_what_is_well_is_green_and_what_isnt_red() -> None:
    found = only(fabric(relays={"ready": 1}), sink("False"))
    text = as_text([found], True)
    assert "\x1b[32mTrue \x1b[0m" in text
    assert "\x1b[31m1/2   \x1b[0m" in text
    assert "\x1b[31mFalse\x1b[0m" in text
