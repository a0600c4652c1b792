"""Conditions: what is wrong is said with what to do; times stay as long as the status does."""

import re
from datetime import UTC, datetime

import pytest

from meterfabric_operator.keys.identity import IdentityError
from meterfabric_operator.sidecars.injection import Proof
from meterfabric_operator.status import conditions as c
from meterfabric_operator.status.books import Books
from meterfabric_operator.watching.observed import Child, MeteringPod


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
    found = c.producers_injected(pods, Proof("Proven", "shop"))
    assert (found.status, found.reason) == ("False", "SidecarsMissing")
    assert found.message.startswith("12 pods are without")
    assert "shop/web-0 (it was early)" in found.message
    assert "and 7 more" in found.message


@pytest.mark.parametrize(
    ("proof", "status", "reason", "says"),
    [
        (Proof("Proven", "shop"), "True", "AllInjected", "new ones get it"),
        (Proof("Nowhere"), "True", "NoNamespace", "meterfabric.io/fabric: NAMESPACE.NAME"),
        (Proof("Untried"), "Unknown", "Trying", "on trial"),
        (Proof("Refused", "shop", "exceeded quota"), "Unknown", "TrialRefused", "shop takes no pod .*: exceeded quota"),
        (
            Proof("Inactive", "shop"),
            "False",
            "PolicyInactive",
            "in namespace shop .* MutatingAdmissionPolicy .* webhook",
        ),
    ],
)
def test_that_new_pods_get_a_sidecar_is_said_only_where_a_trial_showed_it(
    proof: Proof, status: str, reason: str, says: str
) -> None:
    found = c.producers_injected([MeteringPod("shop", "web", "")], proof)
    assert (found.status, found.reason) == (status, reason)
    assert re.search(says, found.message)


def test_a_fabric_is_ready_when_all_that_it_needs_is() -> None:
    fine, bad = c.identity_ready("demo"), c.identity_ready("demo", IdentityError("no root has its key"))
    assert c.ready([fine, fine]).status == "True"
    found = c.ready([fine, bad])
    assert (found.status, found.reason, found.message) == ("False", bad.reason, bad.message)


def test_the_time_of_a_condition_stays_while_its_status_does() -> None:
    first = c.merged([], [c.identity_ready("demo")], 1, "t1")
    same = c.merged(first, [c.identity_ready("demo")], 2, "t2")
    other = c.merged(same, [c.identity_ready("demo", IdentityError("gone"))], 3, "t3")
    assert [each[0]["lastTransitionTime"] for each in (first, same, other)] == ["t1", "t1", "t3"]
    assert same[0]["observedGeneration"] == 2


@pytest.mark.parametrize("reason", ["Paused", "SpecInvalid"])
def test_conditions_that_werent_looked_at_stay_with_the_generation_that_they_are_of(reason: str) -> None:
    everything = [c.Condition(each, "True", "Fine", "fine") for each in c.OF_FABRIC]
    first = c.merged([], everything, 1, "t1", c.OF_FABRIC)
    then = c.merged(first, [c.Condition("Ready", "Unknown", reason, "why")], 2, "t2", c.OF_FABRIC)
    assert [each["type"] for each in then] == list(c.OF_FABRIC)
    assert then[1:] == first[1:]
    assert (then[0]["observedGeneration"], then[0]["lastTransitionTime"]) == (2, "t2")
    again = c.merged(then, everything, 3, "t3", c.OF_FABRIC)
    assert [each["lastTransitionTime"] for each in again] == ["t3", *["t1"] * 5]


def test_a_fabric_that_was_never_looked_at_says_of_everything_that_it_isnt_known() -> None:
    made = c.merged([], [c.Condition("Ready", "False", "SpecInvalid", "why")], 1, "t1", c.OF_FABRIC)
    assert [each["type"] for each in made] == list(c.OF_FABRIC)
    assert {(each["status"], each["reason"], each["message"]) for each in made[1:]} == {
        ("Unknown", "SpecInvalid", "why")
    }


def books(unclosed: int = 0, **records: int) -> Books:
    by = {"shop/web-0": records.get("abandoned", 0)}
    return Books(records, 0, datetime(2026, 11, 24, tzinfo=UTC), unclosed, by)


@pytest.mark.parametrize(
    ("held", "unheard", "status", "reason", "says"),
    [
        (None, [], "Unknown", "NotHeard", "no books were heard yet;"),
        (books(delivered=1), ["archive"], "Unknown", "NotHeard", "of: archive"),
        (books(delivered=1, pending=5), [], "True", "Balanced", "on its way"),
        (books(expired=3, lost=2), [], "True", "SomeGivenUp", "3 expired, 2 lost"),
        (books(missing=4, damaged=1), [], "False", "RecordsMissing", "4 records were lost with a sidecar's disk"),
        (
            books(1, abandoned=7, missing=4),
            [],
            "False",
            "RecordsAbandoned",
            "1 logs .* gone: 7 records .*: shop/web-0 .7.",
        ),
        (books(1, delivered=9), [], "False", "RecordsAbandoned", "1 logs .* gone: 0 records .*: shop/web-0 .0."),
        (books(1, unexplained=2, abandoned=7), [], "False", "RecordsUnexplained", "2 records"),
    ],
)
def test_books_are_balanced_when_every_records_fate_is_signed_for(
    held: Books | None, unheard: list[str], status: str, reason: str, says: str
) -> None:
    found = c.books_balanced(held, unheard)
    assert (found.status, found.reason) == (status, reason)
    assert re.search(says, found.message)


def test_only_a_new_status_or_reason_is_worth_an_event() -> None:
    first = c.merged([], [c.relays_available(child(1), 2)], 1, "t1")
    assert c.changed([], first) == first
    assert c.changed(first, c.merged(first, [c.relays_available(child(1), 3)], 1, "t2")) == []
    news = c.merged(first, [c.relays_available(child(2), 2)], 1, "t2")
    assert c.changed(first, news) == news
