"""Reconciling against an API server in memory: what is made, kept, put right, waited for, answered."""

import asyncio
import contextlib
import dataclasses
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_operator import conditions as c
from meterfabric_operator.applying import Applier
from meterfabric_operator.books import Books
from meterfabric_operator.cluster import ApiError, Cluster
from meterfabric_operator.context import Context
from meterfabric_operator.events import Events
from meterfabric_operator.handlers import Watching
from meterfabric_operator.identity import AuthorityMissing, IdentityError
from meterfabric_operator.injection import Injection
from meterfabric_operator.kinds import FABRIC_CHILDREN, kinds
from meterfabric_operator.missing import Missing
from meterfabric_operator.objects import FABRIC, FINALIZER, LET_GO, Key, Object
from meterfabric_operator.observed import Observed
from meterfabric_operator.reconcile_fabric import facts_of, reconcile_fabric
from meterfabric_operator.reconcile_request import reconcile_request
from meterfabric_operator.reconcile_sink import reconcile_sink
from meterfabric_operator.replacing import Replacer
from meterfabric_operator.secret_keeper import SecretKeeper
from meterfabric_operator.specs import read_fabric
from meterfabric_operator.sweep import sweep
from meterfabric_protocol.fabric import API_VERSION
from meterfabric_protocol.identity import ChainVerifier, TrustBundle
from meterfabric_protocol.names import Producer
from meterfabric_runtime.csr import make_csr
from tests.operator.facts import SETTINGS
from tests.operator.memory_api import MemoryApi

DEMO = Key("MeteringFabric", "metering", "demo")
BILLING = Key("MeteringSink", "metering", "billing")
AUTHORITY = Key("Secret", "metering", "demo-authority")
HISTORY = Key("Secret", "metering", "demo-history")
RELAY_KEY = Key("Secret", "metering", "demo-relay")
BUNDLE = Key("ConfigMap", "metering", "demo-trust")
RELAYS = Key("Deployment", "metering", "demo-relay")


class World:
    """A cluster in memory and the operator's parts around it. Watching tells everything at once."""

    def __init__(self) -> None:
        self.api = MemoryApi()
        self.now = datetime(2026, 11, 24, 12, tzinfo=UTC)
        self.looked: list[Key] = []
        self.later: dict[Key, float] = {}
        self.observed = Observed()
        self.watching = Watching(self.observed, self.looked.append)
        cluster = cast(Cluster, self.api)
        self.api.kinds = kinds(SETTINGS.admission_api)  # type: ignore[attr-defined]
        events = Events(cluster, "replica")

        def clock() -> float:
            return self.now.timestamp()

        injection = Injection(cluster, SETTINGS, clock)
        self.context = Context(
            SETTINGS,
            cluster,
            self.observed,
            Applier(cluster, self.observed),
            SecretKeeper(cluster, lambda: self.now),
            injection,
            Missing(events),
            Replacer(cluster, injection, events, clock),
            events,
            lambda: self.now,
            lambda key, seconds: self.later.update({key: seconds}),
        )

    def put(self, kind: str, name: str, namespace: str = "metering", **body: Any) -> None:
        """A person writes an object."""
        key = Key(kind, namespace, name)
        metadata = {"name": name, **body.pop("metadata", {})}
        if namespace:
            metadata["namespace"] = namespace
        metadata.setdefault("generation", 1)
        version = {"apiVersion": API_VERSION} if kind.startswith("Metering") else {"apiVersion": "v1"}
        self.api._put("put", key, {**version, "kind": kind, "metadata": metadata, **body})

    def tell(self) -> None:
        """Watching tells how everything is."""
        takers = {
            "MeteringFabric": self.watching.fabric,
            "MeteringSink": self.watching.sink,
            "Namespace": self.watching.namespace,
            **dict.fromkeys(FABRIC_CHILDREN, self.watching.child),
        }
        for key in [key for key in self.observed.children if key not in self.api.held]:
            self.observed.children.pop(key)
        for key in [key for key in self.observed.fabrics if key not in self.api.held]:
            self.observed.fabrics.pop(key)
        for key, body in list(self.api.held.items()):
            if key.kind in takers:
                takers[key.kind](body, False)

    async def reconcile(self, rounds: int = 3) -> None:
        for _ in range(rounds):
            self.tell()
            await reconcile_fabric(self.context, DEMO)
            self.tell()
            # A sink waits for its fabric's keys.
            with contextlib.suppress(AuthorityMissing):
                await reconcile_sink(self.context, BILLING)
        self.tell()

    def condition(self, key: Key, kind: str) -> Object:
        conditions = self.api.held[key].get("status", {}).get("conditions", [])
        return next((each for each in conditions if each["type"] == kind), {})

    def events(self) -> list[str]:
        return [body["reason"] for key, body in self.api.held.items() if key.kind == "Event"]


def world(**spec: Any) -> World:
    made = World()
    made.put("MeteringFabric", "demo", spec=spec)
    made.put("MeteringSink", "billing", spec={"fabric": "demo", "destination": {"postgres": {"url": "postgres://d/u"}}})
    made.put("Namespace", "shop", "", metadata={"labels": {FABRIC: "metering.demo"}})
    return made


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


async def test_a_sink_of_no_fabric_says_so_and_makes_nothing() -> None:
    made = World()
    made.put("MeteringSink", "billing", spec={"fabric": "demo", "destination": {"file": {}}})
    await made.reconcile()
    assert made.condition(BILLING, "Ready")["reason"] == "NoFabric"
    assert not [key for key in made.api.held if key.kind in ("Deployment", "StatefulSet", "Secret")]


async def test_a_fabric_whose_names_are_too_long_for_its_logs_says_so() -> None:
    made = World()
    where = "n" * 50
    made.put("MeteringFabric", "f" * 20, where, spec={})
    made.tell()
    key = Key("MeteringFabric", where, "f" * 20)
    await reconcile_fabric(made.context, key)
    assert made.condition(key, "Ready")["reason"] == "SpecInvalid"


async def test_what_only_a_newer_version_knows_is_left_out_and_told_once() -> None:
    made = world(relay={"replicas": 3, "colour": "red"}, newer={"enabled": True})
    made.put(
        "MeteringSink",
        "billing",
        spec={"fabric": "demo", "destination": {"file": {"storage": {"newer": 1}}}},
    )
    await made.reconcile()
    assert made.api.held[RELAYS]["spec"]["replicas"] == 3
    condition = made.condition(DEMO, "FieldsIgnored")
    assert (condition["status"], condition["reason"]) == ("True", "NewerVersion")
    assert "spec.relay.colour, spec.newer" in condition["message"]
    assert "spec.destination.file.storage.newer" in made.condition(BILLING, "FieldsIgnored")["message"]
    assert made.events().count("NewerVersion") == 2
    made.put("MeteringFabric", "demo", spec={}, metadata={"finalizers": [FINALIZER]})
    await made.reconcile()
    assert made.condition(DEMO, "FieldsIgnored") == {}


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


async def test_conditions_follow_the_children_and_each_change_is_one_event() -> None:
    made = world()
    await made.reconcile()
    assert made.condition(DEMO, "Ready")["status"] == "False"
    for key in (RELAYS, Key("Deployment", "metering", "billing-sink")):
        replicas = made.api.held[key]["spec"]["replicas"]
        status = {"readyReplicas": replicas, "updatedReplicas": replicas, "observedGeneration": None}
        await made.api.patch(key, {"status": status})
    await made.reconcile()
    assert made.condition(DEMO, "Ready")["status"] == "True"
    assert made.condition(BILLING, "Ready")["status"] == "True"
    assert made.events().count("AllReachable") == 1


async def test_a_fabric_says_six_things_each_with_reason_message_and_time() -> None:
    made = world()
    began = made.now
    await made.reconcile()
    made.now += timedelta(minutes=5)
    await made.reconcile()
    made.put(
        "MeteringFabric", "demo", spec={"reconcile": "Paused"}, metadata={"finalizers": [FINALIZER], "generation": 2}
    )
    await made.api.patch(DEMO, {"status": made.observed.fabrics[DEMO]["status"]})
    made.now += timedelta(minutes=5)
    await made.reconcile()
    found = made.api.held[DEMO]["status"]["conditions"]
    assert [each["type"] for each in found] == list(c.OF_FABRIC)
    assert all(each["reason"] and each["message"] for each in found)
    assert [each["observedGeneration"] for each in found] == [2, 1, 1, 1, 1, 1]
    times = [began + timedelta(minutes=10), *[began] * 5]
    assert [each["lastTransitionTime"] for each in found] == [each.strftime("%Y-%m-%dT%H:%M:%SZ") for each in times]


async def test_the_first_certificate_to_run_out_is_the_one_that_is_told() -> None:
    made = world()
    await made.reconcile()
    of_sink = made.api.held[BILLING]["status"]["certificateExpiry"]
    assert made.api.held[DEMO]["status"]["certificateExpiry"] == of_sink
    assert of_sink < (made.now + timedelta(days=40)).isoformat()


async def test_records_of_a_pod_that_is_gone_unbalance_the_books() -> None:
    made = world()
    made.observed.books[BILLING] = Books({"delivered": 10, "abandoned": 7}, 0, made.now, 1, {"shop/web-0": 7})
    await made.reconcile()
    condition = made.condition(DEMO, "BooksBalanced")
    assert (condition["status"], condition["reason"]) == ("False", "RecordsAbandoned")
    status = made.api.held[DEMO]["status"]
    assert (status["books"]["accepted"], status["books"]["abandoned"]) == (17, 7)
    assert status["sinks"][0]["books"] == status["books"]
    assert made.events().count("RecordsAbandoned") == 1
    for unclosed, told in ((2, 2), (2, 2), (1, 2)):
        made.observed.books[BILLING] = Books({"abandoned": 9}, 0, made.now, unclosed, {"shop/web-0": 9})
        await made.reconcile()
        assert made.events().count("RecordsAbandoned") == told


async def test_what_fails_and_keeps_a_fabric_from_being_ready_is_told_once() -> None:
    made = world()
    await made.reconcile()
    assert made.condition(DEMO, "Ready")["reason"] == made.condition(DEMO, "RelaysAvailable")["reason"]
    messages = [
        (body["reason"], body["note"])
        for key, body in made.api.held.items()
        if key.kind == "Event" and body["regarding"]["kind"] == "MeteringFabric"
    ]
    assert len(messages) == len(set(messages))


def unmetered(made: World, name: str, uid: str, owner: str = "rs-1", **metadata: Any) -> None:
    """A pod without its sidecar, as watching tells it."""
    metadata |= {
        "uid": uid,
        "labels": {"meterfabric.io/inject": "true"},
        "creationTimestamp": "2026-11-24T11:00:00Z",
        "ownerReferences": [{"uid": owner, "kind": "ReplicaSet", "controller": True}] if owner else [],
    }
    made.put("Pod", name, "shop", metadata=metadata, spec={})
    made.watching.pod(made.api.held[Key("Pod", "shop", name)], False)


async def test_a_fabric_whose_admission_doesnt_act_says_what_to_look_at_and_says_when_it_does_again() -> None:
    made = world()
    made.api.injects = False
    for _ in range(6):
        await made.reconcile(1)
        made.now += timedelta(seconds=3)
    condition = made.condition(DEMO, "ProducersInjected")
    assert (condition["status"], condition["reason"]) == ("False", "PolicyInactive")
    assert "namespace shop" in condition["message"]
    assert made.events().count("PolicyInactive") == 1
    made.api.injects = True
    made.now += timedelta(seconds=made.later[DEMO])
    await made.reconcile(1)
    condition = made.condition(DEMO, "ProducersInjected")
    assert (condition["status"], condition["reason"]) == ("True", "AllInjected")


async def test_pods_without_a_sidecar_are_told_at_the_fabric_and_at_the_pods_and_left_alone() -> None:
    made = world()
    await made.reconcile()
    for number in range(12):
        unmetered(made, f"web-{number}", f"u-{number}")
    await made.reconcile()
    condition = made.condition(DEMO, "ProducersInjected")
    assert condition["reason"] == "SidecarsMissing"
    assert condition["message"].startswith("12 pods are without a sidecar: shop/web-0 (")
    assert made.events().count("SidecarsMissing") == 1
    assert made.events().count("SidecarMissing") == 10
    assert not [key for verb, key in made.api.log if verb == "evict"]


async def test_where_the_fabric_asks_they_are_evicted_at_its_rate() -> None:
    made = world(injection={"replace": "Evict", "evictionsPerMinute": 2})
    await made.reconcile()
    for number in range(3):
        unmetered(made, f"web-{number}", f"u-{number}")
    evicted = []
    for _ in range(6):
        made.api.log.clear()
        await made.reconcile(2)
        evicted.append([key.name for verb, key in made.api.log if verb == "evict"])
        made.now += timedelta(seconds=15)
    assert evicted == [["web-0"], [], ["web-1"], [], ["web-2"], []]
    assert made.events().count("ReplacedForSidecar") == 3


async def test_nothing_is_evicted_while_injection_isnt_proven() -> None:
    made = world(injection={"replace": "Evict", "evictionsPerMinute": 600})
    await made.reconcile()
    made.api.injects = False
    unmetered(made, "web-0", "u-0")
    for _ in range(10):
        await made.reconcile(1)
        made.now += timedelta(seconds=5)
    assert not [key for verb, key in made.api.log if verb == "evict"]
    made.api.injects = True
    made.now += timedelta(seconds=60)
    await made.reconcile(1)
    assert [key.name for verb, key in made.api.log if verb == "evict"] == ["web-0"]


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


async def test_a_fabric_made_again_goes_on_with_its_keys() -> None:
    made = world()
    await made.reconcile()
    before = made.api.held[AUTHORITY]["data"]
    await made.api.patch(DEMO, {"metadata": {"deletionTimestamp": "2026-11-24T12:00:00Z"}})
    await made.reconcile()
    made.put("MeteringFabric", "demo", spec={})
    await made.reconcile()
    assert made.api.held[AUTHORITY]["data"] == before


async def test_a_sinks_certificate_is_renewed_in_its_secret() -> None:
    made = world()
    await made.reconcile()
    key = Key("Secret", "metering", "billing-sink")
    before = made.api.held[key]["data"]
    made.now += timedelta(days=11)
    await made.reconcile()
    after = made.api.held[key]["data"]
    assert after["key.pem"] == before["key.pem"]
    assert after["chain.pem"] != before["chain.pem"]


# Keys that are lost


def file(made: World, key: Key, name: str) -> bytes:
    return b64decode(made.api.held[key]["data"][name])


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


# Certificate requests


def pod(made: World, **metadata: Any) -> None:
    labels = {"meterfabric.io/inject": "true"}
    made.put(
        "Pod",
        "web-0",
        "shop",
        metadata={"uid": "u-1", "labels": labels, **metadata},
        spec={"serviceAccountName": "web"},
        status={"phase": "Running"},
    )


def request(made: World, **status: Any) -> Key:
    subject = Producer("meterfabric.local", "metering.demo", "shop", "web", "web-0", "u-1")
    csr = make_csr(Ed25519PrivateKey.generate(), subject.spiffe)
    spec = {
        "username": "system:serviceaccount:shop:web",
        "extra": {
            "authentication.kubernetes.io/pod-name": ["web-0"],
            "authentication.kubernetes.io/pod-uid": ["u-1"],
        },
        "signerName": "meterfabric.io/producer",
        "usages": ["client auth"],
        "request": b64encode(csr).decode(),
    }
    made.put("CertificateSigningRequest", "r", "", spec=spec, status=status)
    return Key("CertificateSigningRequest", "", "r")


async def test_a_request_of_a_live_pod_is_approved_and_signed_by_the_fabrics_root() -> None:
    made = world()
    await made.reconcile()
    pod(made)
    key = request(made)
    await reconcile_request(made.context, key)
    status = made.api.held[key]["status"]
    assert [each["type"] for each in status["conditions"]] == ["Approved"]
    bundle = made.api.held[Key("ConfigMap", "metering", "demo-trust")]["data"]["trust.pem"]
    verifier = ChainVerifier(TrustBundle(bundle.encode()))
    identity = verifier.verify(b64decode(status["certificate"]), made.now, role="producer", fabric="metering.demo")
    assert isinstance(identity.subject, Producer)
    assert identity.subject.pod == "web-0"
    made.api.log.clear()
    await reconcile_request(made.context, key)
    assert made.api.log == []


@pytest.mark.parametrize("missing", [AUTHORITY, HISTORY])
async def test_who_signs_makes_no_authority_and_waits_for_one_that_is_remembered(missing: Key) -> None:
    made = world()
    await made.reconcile()
    pod(made)
    key = request(made)
    del made.api.held[missing]
    made.api.log.clear()
    with pytest.raises(IdentityError, match="isn't there yet"):
        await reconcile_request(made.context, key)
    assert made.api.log == []
    await made.reconcile()
    await reconcile_request(made.context, key)
    assert made.api.held[key]["status"]["certificate"]


async def test_a_request_is_denied_only_after_a_live_read() -> None:
    made = world()
    await made.reconcile()
    key = request(made)
    await reconcile_request(made.context, key)
    (condition,) = made.api.held[key]["status"]["conditions"]
    assert (condition["type"], condition["reason"]) == ("Denied", "NoSuchPod")
    waiting = request(made)
    made.api.away = True
    with pytest.raises(OSError, match="no route"):
        await reconcile_request(made.context, waiting)
    made.api.away = False
    assert "conditions" not in made.api.held[waiting]["status"]


async def test_a_pod_that_is_denied_is_told_why() -> None:
    made = world()
    await made.reconcile()
    pod(made, labels={})
    await reconcile_request(made.context, request(made))
    assert "CertificateDenied" in made.events()


async def test_a_request_that_a_person_approved_isnt_signed_where_it_must_not_be() -> None:
    made = world()
    await made.reconcile()
    key = request(made, conditions=[{"type": "Approved", "status": "True", "reason": "ByHand"}])
    await reconcile_request(made.context, key)
    assert [each["type"] for each in made.api.held[key]["status"]["conditions"]] == ["Approved", "Failed"]
    assert "certificate" not in made.api.held[key]["status"]


async def test_a_request_that_changed_meanwhile_is_looked_at_again() -> None:
    made = world()
    await made.reconcile()
    pod(made)
    key = request(made)
    real = made.api.patch

    async def raced(where: Key, body: Object, part: str = "") -> Object:
        made.api.patch = real  # type: ignore[method-assign]
        await real(where, {"metadata": {"annotations": {"x": "y"}}})
        return await real(where, body, part)

    made.api.patch = raced  # type: ignore[method-assign]
    with pytest.raises(ApiError, match="Conflict"):
        await reconcile_request(made.context, key)
    await reconcile_request(made.context, key)
    assert made.api.held[key]["status"]["certificate"]


# Sweeping


async def test_a_sweep_leaves_what_people_own_and_nothing_else() -> None:
    made = world()
    await made.reconcile()
    selector = {"matchLabels": {"app": "operator"}}
    made.put("Deployment", "operator", "meterfabric-system", spec={"replicas": 2, "selector": selector}, status={})
    settings = dataclasses.replace(SETTINGS, deployment="operator")
    await sweep(cast(Cluster, made.api), settings)
    assert made.api.held[Key("Deployment", "meterfabric-system", "operator")]["spec"]["replicas"] == 0
    left = {key for key in made.api.held if key.kind in FABRIC_CHILDREN}
    assert left == {
        Key("ConfigMap", "metering", "demo-trust"),
        Key("Deployment", "meterfabric-system", "operator"),
    }
    assert made.api.held[DEMO]["metadata"]["finalizers"] == []
    assert {AUTHORITY, Key("Secret", "metering", "billing-sink")} <= set(made.api.held)
