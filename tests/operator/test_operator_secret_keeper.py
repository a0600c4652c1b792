"""Keys that are damaged or lost: what comes back as it was, what is replaced and said, what waits for a person."""

import asyncio
from base64 import b64encode
from datetime import timedelta
from typing import cast

import pytest

from meterfabric_operator.api.cluster import ApiError, Cluster
from meterfabric_operator.keys.secret_keeper import SecretKeeper
from meterfabric_operator.objects import FABRIC, Key, Object
from meterfabric_operator.reconciling.reconcile_fabric import facts_of, reconcile_fabric
from meterfabric_operator.specs import read_fabric
from meterfabric_protocol.identity import TrustBundle
from tests.operator.world import (
    AUTHORITY,
    BILLING,
    BUNDLE,
    DEMO,
    HISTORY,
    RELAY_KEY,
    RELAYS,
    file,
    world,
)


async def test_a_damaged_authority_is_told_and_nothing_is_replaced() -> None:
    made = world()
    await made.reconcile()
    made.api.held[AUTHORITY]["data"]["root-0001.pem"] = b64encode(b"?").decode()
    before = made.api.held[AUTHORITY]["data"]
    await made.reconcile()
    assert made.api.held[AUTHORITY]["data"] == before
    condition = made.condition(DEMO, "IdentityReady")
    assert (condition["status"], condition["reason"]) == ("False", "KeysUnusable")
    assert "KeysUnusable" in made.events()
    assert RELAYS in made.api.held


async def test_an_authority_that_is_deleted_is_replaced_with_its_history_and_it_is_said() -> None:
    made = world()
    await made.reconcile()
    before = made.api.held[BUNDLE]["data"]["trust.pem"]
    spare_before = file(made, HISTORY, "spare.pem")
    relays = file(made, RELAY_KEY, "relays.curve")
    del made.api.held[AUTHORITY]
    made.now += timedelta(days=1)
    await made.reconcile()
    after = made.api.held[BUNDLE]["data"]["trust.pem"]
    assert after.startswith(before)
    assert len(TrustBundle(after.encode()).roots) == 3
    spare = file(made, HISTORY, "spare.pem")
    assert b"PRIVATE" in spare
    assert spare.startswith(file(made, AUTHORITY, "root-0003.pem"))
    assert file(made, HISTORY, "roots.pem").decode() == after
    assert b"PRIVATE" not in file(made, AUTHORITY, "root-0001.pem")
    assert file(made, AUTHORITY, "root-0002.pem") == spare_before
    assert after in made.api.held[Key("ConfigMap", "shop", "meterfabric.metering.demo")]["data"]["trust.pem"]
    condition = made.condition(DEMO, "IdentityReady")
    assert (condition["status"], condition["reason"]) == ("True", "AuthorityReplaced")
    assert "demo-authority was lost" in condition["message"]
    assert made.events().count("AuthorityLost") == 1
    assert file(made, RELAY_KEY, "relays.curve") == relays == file(made, AUTHORITY, "relays.curve")
    made.api.log.clear()
    await made.reconcile()
    assert made.api.log == []
    del made.api.held[AUTHORITY]["metadata"]["annotations"]["meterfabric.io/replaced"]
    await made.reconcile()
    assert made.condition(DEMO, "IdentityReady")["reason"] == "Issuing"


async def test_a_history_that_is_deleted_is_made_from_the_authority() -> None:
    made = world()
    await made.reconcile()
    before = file(made, HISTORY, "roots.pem")
    del made.api.held[HISTORY]
    await made.reconcile()
    assert file(made, HISTORY, "roots.pem").startswith(before)
    assert b"PRIVATE" in file(made, HISTORY, "spare.pem")
    assert "AuthorityLost" not in made.events()


async def test_the_relays_key_comes_back_as_it_was() -> None:
    made = world()
    await made.reconcile()
    before = made.api.held[RELAY_KEY]["data"]
    del made.api.held[RELAY_KEY]
    await made.reconcile()
    assert made.api.held[RELAY_KEY]["data"] == before


async def test_where_both_are_gone_nothing_is_made_or_overwritten_until_a_person_says() -> None:
    made = world()
    await made.reconcile()
    bundle = made.api.held[BUNDLE]["data"]["trust.pem"]
    for key in (AUTHORITY, HISTORY):
        del made.api.held[key]
    await made.reconcile(1)
    await reconcile_fabric(made.context, DEMO)
    condition = made.condition(DEMO, "IdentityReady")
    assert (condition["status"], condition["reason"]) == ("False", "TrustLost")
    assert "kubectl create secret generic demo-history -n metering" in condition["message"]
    assert made.api.held[BUNDLE]["data"]["trust.pem"] == bundle
    assert AUTHORITY not in made.api.held
    # The workers of its sink run, and what they say of themselves stays.
    assert made.condition(BILLING, "Ready")["reason"] == "NoWorkerReady"
    made.put("Secret", "demo-history", data={"roots.pem": b64encode(bundle.encode()).decode()})
    await made.reconcile()
    assert made.api.held[BUNDLE]["data"]["trust.pem"].startswith(bundle)
    assert made.condition(DEMO, "IdentityReady")["reason"] == "AuthorityReplaced"


async def test_without_a_bundle_either_a_fabric_begins_anew() -> None:
    made = world()
    await made.reconcile()
    for key in (AUTHORITY, HISTORY, BUNDLE):
        del made.api.held[key]
    await made.reconcile()
    assert len(TrustBundle(made.api.held[BUNDLE]["data"]["trust.pem"].encode()).roots) == 2
    assert made.condition(DEMO, "IdentityReady")["reason"] == "Issuing"


async def test_labels_that_somebody_takes_off_a_secret_come_back_and_others_stay() -> None:
    made = world()
    await made.reconcile()
    made.api.held[AUTHORITY]["metadata"]["labels"] = {"backup": "daily"}
    await made.reconcile()
    assert made.api.held[AUTHORITY]["metadata"]["labels"][FABRIC] == "metering.demo"
    assert made.api.held[AUTHORITY]["metadata"]["labels"]["backup"] == "daily"


async def test_of_two_operators_that_find_no_authority_one_makes_it() -> None:
    made = world()
    made.tell()
    facts = facts_of(made.context, made.api.held[DEMO], read_fabric(made.api.held[DEMO]))
    both = (SecretKeeper(cast(Cluster, made.api), lambda: made.now) for _ in range(2))
    met = asyncio.Barrier(2)
    create = made.api.create

    async def together(body: Object, *, dry_run: bool = False) -> Object:
        if body["metadata"]["name"] == AUTHORITY.name:
            await met.wait()
        return await create(body, dry_run=dry_run)

    made.api.create = together  # type: ignore[method-assign]
    answers = await asyncio.gather(*(each.keep(facts, 1, False) for each in both), return_exceptions=True)
    (failed,) = [each for each in answers if isinstance(each, BaseException)]
    (kept,) = [each for each in answers if not isinstance(each, BaseException)]
    assert isinstance(failed, ApiError)
    assert failed.status == 409
    assert file(made, AUTHORITY, "root-0001.pem") == kept.roots.files["root-0001.pem"]


@pytest.mark.parametrize("how", ["gone", "being deleted", "another"])
async def test_no_authority_is_made_for_a_fabric_that_isnt_alive_whatever_watching_told(how: str) -> None:
    made = world()
    await made.reconcile(1)
    made.tell()
    for key in (AUTHORITY, HISTORY, RELAY_KEY, BUNDLE):
        del made.api.held[key]
    made.observed.children.clear()
    if how == "gone":
        del made.api.held[DEMO]
    elif how == "being deleted":
        made.api.held[DEMO]["metadata"]["deletionTimestamp"] = "2026-11-24T12:00:00Z"
    else:
        made.api.held[DEMO]["metadata"]["uid"] = "another"
    with pytest.raises(ApiError, match="is being deleted"):
        await reconcile_fabric(made.context, DEMO)
    assert AUTHORITY not in made.api.held
