"""A fabric against an API server in memory: what is made, put right, left alone, and kept whatever its spec says."""

import pytest

from meterfabric_operator.api.cluster import ApiError
from meterfabric_operator.objects import FINALIZER, Key
from meterfabric_operator.reconciling.reconcile_fabric import reconcile_fabric
from meterfabric_operator.reconciling.reconcile_request import reconcile_request
from tests.operator.world import AUTHORITY, BILLING, BUNDLE, DEMO, RELAY_KEY, RELAYS, World, pod, request, world


async def test_everything_is_made_and_then_nothing_more_is_sent() -> None:
    made = world()
    await made.reconcile()
    kinds_made = {key.kind for key in made.api.held}
    assert {"Secret", "Deployment", "Service", "ConfigMap", "NetworkPolicy", "PodDisruptionBudget"} <= kinds_made
    assert {"ClusterRoleBinding", "MutatingAdmissionPolicyBinding"} <= kinds_made
    assert FINALIZER in made.api.held[DEMO]["metadata"]["finalizers"]
    assert made.api.held[DEMO]["status"]["sidecar"]["environment"]
    made.api.log.clear()
    await made.reconcile()
    assert made.api.log == []


async def test_a_fabric_that_names_no_number_of_relays_gets_two_and_is_told_so() -> None:
    made = world()
    await made.reconcile()
    assert made.api.held[RELAYS]["spec"]["replicas"] == 2
    assert made.api.held[DEMO]["spec"]["relay"]["replicas"] == 2


async def test_a_number_of_relays_that_a_manifest_leaves_out_stays_as_it_was() -> None:
    made = world(relay={"replicas": 5, "autoscaling": {"maxReplicas": 9}})
    await made.reconcile()
    await made.api.patch(DEMO, {"spec": {"relay": {"replicas": None}}})
    sizes = set()
    for _ in range(3):
        await made.reconcile(rounds=1)
        sizes.add(made.api.held[RELAYS]["spec"]["replicas"])
    assert sizes == {5}
    assert made.api.held[DEMO]["spec"]["relay"]["replicas"] == 5


async def test_a_number_that_somebody_writes_while_it_is_missing_stands() -> None:
    made = world(relay={"replicas": 5})
    await made.reconcile()
    await made.api.patch(DEMO, {"spec": {"relay": {"replicas": None}}})
    made.tell()
    await made.api.patch(DEMO, {"spec": {"relay": {"replicas": 3}}})
    with pytest.raises(ApiError, match="Conflict"):
        await reconcile_fabric(made.context, DEMO)
    await made.reconcile()
    assert made.api.held[RELAYS]["spec"]["replicas"] == 3


async def test_a_paused_fabric_is_given_no_number() -> None:
    made = world(reconcile="Paused")
    await made.reconcile()
    assert "replicas" not in made.api.held[DEMO]["spec"].get("relay", {})


@pytest.mark.parametrize(
    "key",
    [
        RELAYS,
        Key("Service", "metering", "demo-relay"),
        Key("ConfigMap", "shop", "meterfabric.metering.demo"),
        Key("ClusterRoleBinding", "", "meterfabric.metering.demo"),
        Key("MutatingAdmissionPolicyBinding", "", "meterfabric.metering.demo"),
        Key("Deployment", "metering", "billing-sink"),
        Key("Secret", "metering", "billing-sink"),
        Key("Secret", "metering", "demo-history"),
        Key("Secret", "metering", "demo-relay"),
        Key("Secret", "metering", "demo-authority"),
    ],
)
async def test_what_somebody_deletes_is_made_again(key: Key) -> None:
    made = world()
    await made.reconcile()
    del made.api.held[key]
    await made.reconcile()
    assert key in made.api.held


async def test_what_somebody_changes_is_put_right() -> None:
    made = world()
    await made.reconcile()
    key = Key("Service", "metering", "demo-relay")
    held = made.api.held[key]
    await made.api.patch(key, {"spec": {"selector": {"app": "x"}}})
    await made.reconcile()
    assert made.api.held[key]["spec"] == held["spec"]


async def test_a_namespace_that_leaves_loses_its_config_and_its_rights() -> None:
    made = world()
    await made.reconcile()
    made.put("Namespace", "shop", "")
    await made.reconcile()
    assert Key("ConfigMap", "shop", "meterfabric.metering.demo") not in made.api.held
    assert Key("ClusterRoleBinding", "", "meterfabric.metering.demo") not in made.api.held
    assert RELAYS in made.api.held


async def test_a_paused_fabric_is_left_alone_and_says_so() -> None:
    made = world()
    await made.reconcile()
    del made.api.held[RELAYS]
    made.put("MeteringFabric", "demo", spec={"reconcile": "Paused"}, metadata={"finalizers": [FINALIZER]})
    await made.reconcile()
    assert RELAYS not in made.api.held
    assert made.condition(DEMO, "Ready")["reason"] == "Paused"


INVALID = {"delivery": {"expiry": "1s"}}


async def test_a_fabric_whose_spec_is_invalid_keeps_its_keys_its_bundle_and_what_was_made() -> None:
    made = world()
    await made.reconcile()
    bundle = made.api.held[BUNDLE]["data"]
    made.put("MeteringFabric", "demo", spec=INVALID, metadata={"finalizers": [FINALIZER]})
    lost = (AUTHORITY, RELAY_KEY, BUNDLE, Key("Secret", "metering", "billing-sink"))
    for key in lost:
        del made.api.held[key]
    await made.reconcile()
    assert set(lost) <= set(made.api.held)
    assert made.api.held[BUNDLE]["data"]["trust.pem"].startswith(bundle["trust.pem"])
    assert RELAYS in made.api.held
    assert (made.condition(DEMO, "Ready")["reason"], made.condition(BILLING, "Ready")["reason"]) == (
        "SpecInvalid",
        "SpecInvalid",
    )
    assert made.condition(DEMO, "IdentityReady")["reason"] == "AuthorityReplaced"


async def test_a_sink_of_a_kind_that_only_a_newer_version_knows_stays_in_the_sidecars_list() -> None:
    """One that leaves the list is gone for a sidecar: it would drop what it kept for it."""
    made = world()
    await made.reconcile()
    config = Key("ConfigMap", "shop", "meterfabric.metering.demo")
    before = made.api.held[config]["data"]["sinks.json"]
    assert '"billing"' in before
    workers = made.api.held[Key("Deployment", "metering", "billing-sink")]
    made.put("MeteringSink", "billing", spec={"fabric": "demo", "destination": {"kafka": {"topic": "usage"}}})
    await made.reconcile()
    assert made.api.held[config]["data"]["sinks.json"] == before
    assert made.api.held[Key("Deployment", "metering", "billing-sink")] == workers
    assert made.condition(BILLING, "Ready")["reason"] == "SpecInvalid"


async def test_a_fabric_whose_spec_is_invalid_signs_and_ends() -> None:
    made = world()
    await made.reconcile()
    made.put("MeteringFabric", "demo", spec=INVALID, metadata={"finalizers": [FINALIZER]})
    await made.reconcile()
    pod(made)
    key = request(made)
    await reconcile_request(made.context, key)
    assert made.api.held[key]["status"]["certificate"]
    await made.api.patch(DEMO, {"metadata": {"deletionTimestamp": "2026-11-24T12:00:00Z"}})
    await made.reconcile()
    assert DEMO not in made.api.held


async def test_a_fabric_whose_names_are_too_long_for_its_logs_says_so() -> None:
    made = World()
    where = "n" * 50
    made.put("MeteringFabric", "f" * 20, where, spec={})
    made.tell()
    key = Key("MeteringFabric", where, "f" * 20)
    await reconcile_fabric(made.context, key)
    assert made.condition(key, "Ready")["reason"] == "SpecInvalid"


async def test_a_fabric_made_again_goes_on_with_its_keys() -> None:
    made = world()
    await made.reconcile()
    before = made.api.held[AUTHORITY]["data"]
    await made.api.patch(DEMO, {"metadata": {"deletionTimestamp": "2026-11-24T12:00:00Z"}})
    await made.reconcile()
    made.put("MeteringFabric", "demo", spec={})
    await made.reconcile()
    assert made.api.held[AUTHORITY]["data"] == before
