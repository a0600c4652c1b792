"""The operator's part of the webhook: a certificate that the API server trusts before it is in the Secret."""

import dataclasses
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from meterfabric_operator.api.cluster import ApiError, Cluster
from meterfabric_operator.api.kinds import FABRIC_CHILDREN, children
from meterfabric_operator.children import fabric_children
from meterfabric_operator.keys.webhook_certificate import SERVING, overlap, read
from meterfabric_operator.objects import MANAGED_BY, MANAGER, Key, Object, key_of
from meterfabric_operator.reconciling.reconcile_injection import reconcile_injection
from meterfabric_operator.settings import WebhookPart
from meterfabric_operator.watching import handlers
from meterfabric_operator.watching.observed import Observed
from tests.operator.facts import SETTINGS, facts
from tests.operator.memory_api import MemoryApi
from tests.operator.world import context

PART = WebhookPart("0.sys.r-sidecar", "r-inject", ("r-inject-1.sys.svc",), 86_400.0)
WEBHOOK = dataclasses.replace(SETTINGS, injection="webhook", webhook=PART)
CONFIGURATION = Key("MutatingWebhookConfiguration", "", PART.configuration)
SECRET = Key("Secret", SETTINGS.namespace, PART.secret)
BINDING = Key("MutatingAdmissionPolicyBinding", "", "meterfabric.metering.demo")
LAP = overlap(timedelta(seconds=PART.lifetime)) + timedelta(seconds=1)


class Api(MemoryApi):
    """Also merges the entries of a webhook's configuration by their names, as server-side apply does."""

    def __init__(self) -> None:
        super().__init__()
        self.unknown = ""

    async def apply(self, body: Object) -> Object:
        held = self.held[key_of(body)]
        given = {each["name"]: each["clientConfig"] for each in body["webhooks"]}
        entries = [
            {**each, "clientConfig": {**each["clientConfig"], **given[each["name"]]}} for each in held["webhooks"]
        ]
        return self._put("apply", key_of(body), {**held, "webhooks": entries})

    async def list(self, kind: str, selector: str = "", namespace: str = "") -> list[Object]:
        if kind == self.unknown:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        return await super().list(kind, selector, namespace)


class World:
    """What the chart made, in memory, and the operator's parts around it."""

    def __init__(self, **settings: Any) -> None:
        self.api = Api()
        self.now = datetime(2026, 11, 24, 12, tzinfo=UTC)
        self.again: list[float] = []
        cluster, observed = cast(Cluster, self.api), Observed()
        made = dataclasses.replace(WEBHOOK, **settings)
        self.context = context(
            made, cluster, observed, lambda: self.now, lambda key, seconds: self.again.append(seconds)
        )
        entries = [{"name": f"replica-{n}.inject.meterfabric.io", "clientConfig": {"service": {}}} for n in (1, 2)]
        version = "admissionregistration.k8s.io/v1"
        self.put(CONFIGURATION, apiVersion=version, webhooks=entries)
        self.put(SECRET, apiVersion="v1", metadata={"labels": {MANAGED_BY: "Helm"}}, type="Opaque")

    def put(self, key: Key, **body: Any) -> None:
        metadata = {"name": key.name, "namespace": key.namespace, **body.pop("metadata", {})}
        self.api._put("put", key, {"kind": key.kind, "metadata": metadata, **body})
        self.api.log.clear()

    async def look(self, key: Key = CONFIGURATION) -> None:
        await reconcile_injection(self.context, key)

    @property
    def trusted(self) -> bytes:
        """What the API server trusts; of both replicas the same."""
        (bundle,) = {each["clientConfig"]["caBundle"] for each in self.api.held[CONFIGURATION]["webhooks"]}
        return b64decode(bundle)

    @property
    def served(self) -> bytes:
        pair = read(b64decode(self.api.held[SECRET]["data"][SERVING]))
        assert pair is not None
        return pair.certificate


async def test_the_api_server_is_told_before_the_secret_is_filled() -> None:
    world = World()
    await world.look()
    assert world.api.log == [("apply", CONFIGURATION), ("replace", SECRET)]
    assert world.served == world.trusted
    assert world.api.held[SECRET]["metadata"]["labels"] == {MANAGED_BY: "Helm"}
    world.api.log.clear()
    await world.look()
    assert world.api.log == []
    assert world.again[-1] <= world.context.settings.resync


async def test_rotation_keeps_what_is_served_trusted() -> None:
    world = World()
    await world.look()
    first = world.served
    world.now += timedelta(seconds=PART.lifetime / 2 + 1)
    await world.look()
    assert world.served == first
    assert world.api.log[-2:] == [("apply", CONFIGURATION), ("replace", SECRET)]
    world.now += LAP
    await world.look()
    assert world.served != first
    assert first in world.trusted
    world.now += LAP
    await world.look()
    assert world.trusted == world.served


async def test_what_somebody_removes_is_put_back() -> None:
    world = World()
    await world.look()
    told, served = world.trusted, world.served
    entries = [{**each, "clientConfig": {"service": {}}} for each in world.api.held[CONFIGURATION]["webhooks"]]
    world.put(CONFIGURATION, apiVersion="admissionregistration.k8s.io/v1", webhooks=entries)
    await world.look()
    assert (world.trusted, world.served) == (told, served)
    del world.api.held[SECRET]
    await world.look()
    assert world.served != served
    assert world.trusted == served + world.served


async def test_anothers_configuration_and_one_that_isnt_there_are_left() -> None:
    world = World()
    await world.look(Key("MutatingWebhookConfiguration", "", "0.other.r-sidecar"))
    del world.api.held[CONFIGURATION]
    await world.look()
    assert world.api.log == []


async def test_bindings_of_the_policy_are_removed_where_the_api_server_knows_them() -> None:
    world = World()
    world.put(BINDING, metadata={"labels": {MANAGED_BY: MANAGER}})
    theirs = Key(BINDING.kind, "", "theirs")
    world.put(theirs)
    await world.look()
    assert BINDING not in world.api.held
    assert theirs in world.api.held
    older = World()
    older.api.unknown = BINDING.kind
    await older.look()
    assert older.served
    listed = World(namespaces=("metering", "shop"))
    listed.put(BINDING, metadata={"labels": {MANAGED_BY: MANAGER}})
    await listed.look()
    assert BINDING in listed.api.held


def test_no_binding_is_made_or_watched() -> None:
    made = fabric_children.of_fabric(dataclasses.replace(facts(), settings=WEBHOOK))
    assert not [each for each in made if each["kind"] == BINDING.kind]
    assert [each for each in made if each["kind"] == "ClusterRoleBinding"]
    assert set(FABRIC_CHILDREN) - set(children(WEBHOOK)) == {BINDING.kind}


def test_what_the_api_server_trusts_is_looked_at_whenever_somebody_changes_it() -> None:
    looked: list[Key] = []
    watching = handlers.Watching(Observed(), looked.append)
    for version in (1, 2):
        watching.take(CONFIGURATION.kind, {"metadata": {"name": PART.configuration, "resourceVersion": str(version)}})
    assert looked == [CONFIGURATION] * 2
