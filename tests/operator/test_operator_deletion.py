"""The end of a fabric: what it waits for, and what outlives it."""

import pytest

from meterfabric_operator.objects import LET_GO
from meterfabric_operator.status.books import Books
from tests.operator.world import AUTHORITY, BILLING, BUNDLE, DEMO, HISTORY, RELAY_KEY, RELAYS, world


async def test_a_deleted_fabric_waits_for_what_is_pending_unless_it_is_let_go() -> None:
    made = world()
    await made.reconcile()
    ending = {"deletionTimestamp": "2026-11-24T12:00:00Z"}
    await made.api.patch(DEMO, {"metadata": ending, "status": {"books": {"pending": 7}}})
    await made.reconcile()
    assert DEMO in made.api.held
    assert RELAYS in made.api.held
    assert made.condition(DEMO, "Ready")["reason"] == "WaitsForRecords"
    assert LET_GO in made.condition(DEMO, "Ready")["message"]
    await made.api.patch(DEMO, {"metadata": {"annotations": {LET_GO: "true"}}})
    await made.reconcile()
    assert DEMO not in made.api.held
    assert RELAYS not in made.api.held


async def test_a_deleted_fabric_goes_once_its_sinks_have_everything() -> None:
    made = world()
    made.observed.books[BILLING] = Books({"delivered": 10, "pending": 7}, int(made.now.timestamp()) - 60, made.now)
    await made.reconcile()
    assert made.api.held[DEMO]["status"]["books"]["pending"] == 7
    assert made.api.held[BILLING]["status"]["books"]["oldestPending"] == "60s"
    await made.api.patch(DEMO, {"metadata": {"deletionTimestamp": "2026-11-24T12:00:00Z"}})
    await made.reconcile()
    assert DEMO in made.api.held
    made.observed.books[BILLING] = Books({"delivered": 17}, 0, made.now)
    await made.reconcile()
    assert DEMO not in made.api.held


@pytest.mark.parametrize(("on_delete", "kept"), [("Keep", True), ("Delete", False)])
async def test_the_authority_outlives_its_fabric_unless_asked(on_delete: str, kept: bool) -> None:
    made = world(identity={"onDelete": on_delete})
    await made.reconcile()
    await made.api.patch(DEMO, {"metadata": {"deletionTimestamp": "2026-11-24T12:00:00Z"}})
    await made.reconcile()
    left = {key for key in made.api.held if key.kind in ("Secret", "ConfigMap")}
    of_fabric = {AUTHORITY, HISTORY, RELAY_KEY, BUNDLE}
    assert (of_fabric <= left) == kept
    assert bool(of_fabric & left) == kept
