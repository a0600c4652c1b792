"""An operator that serves listed namespaces only: what it makes, watches, and leaves to others."""

import asyncio
import dataclasses
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from meterfabric_operator.api.cluster import Cluster
from meterfabric_operator.api.kinds import CLUSTER_CHILDREN, FABRIC_CHILDREN, children, kinds
from meterfabric_operator.children import fabric_children
from meterfabric_operator.keys.signer import SIGNER
from meterfabric_operator.objects import FABRIC, Key, Object
from meterfabric_operator.reconciling.context import Context
from meterfabric_operator.reconciling.reconcile_fabric import facts_of
from meterfabric_operator.reconciling.reconcile_request import reconcile_request
from meterfabric_operator.watching import handlers
from meterfabric_operator.watching.observed import Observed
from tests.operator.facts import SETTINGS, facts
from tests.operator.world import context

LISTED = dataclasses.replace(SETTINGS, namespaces=("metering", "shop"))
STAMPS = {"authentication.kubernetes.io/pod-name": ["web"], "authentication.kubernetes.io/pod-uid": ["u"]}


def test_what_has_no_namespace_is_the_charts_to_make() -> None:
    made = fabric_children.of_fabric(dataclasses.replace(facts(), settings=LISTED))
    assert made
    assert not [each for each in made if each["kind"] in CLUSTER_CHILDREN]
    assert all(each["metadata"]["namespace"] in LISTED.namespaces for each in made)


def test_what_has_no_namespace_is_not_watched() -> None:
    assert children(SETTINGS) == FABRIC_CHILDREN
    assert set(FABRIC_CHILDREN) - set(children(LISTED)) == set(CLUSTER_CHILDREN)
    served = kinds("admissionregistration.k8s.io/v1")
    watching = handlers.Watching(Observed(), lambda key: None)
    registry = handlers.register(watching, served, children(LISTED))
    watched = {str(each.id) for each in registry._watching.get_all_handlers()}
    assert "watch-deployments" in watched
    assert not watched & {f"watch-{served[kind].plural}" for kind in CLUSTER_CHILDREN}


class Requests:
    """An API server with namespaces that joined a fabric, and one request for a certificate; nothing else is there."""

    def __init__(self, namespace: str, joined: str) -> None:
        self.namespace = namespace
        self.joined = joined
        self.asked: list[Key] = []
        self.written: list[Object] = []

    async def get(self, key: Key) -> Object | None:
        self.asked.append(key)
        if key.kind == "Namespace":
            return {"metadata": {"name": key.name, "labels": {FABRIC: self.joined}}}
        if key.kind == "CertificateSigningRequest":
            username = f"system:serviceaccount:{self.namespace}:default"
            spec = {"signerName": SIGNER, "username": username, "extra": STAMPS, "usages": [], "request": ""}
            return {"metadata": {"name": key.name, "resourceVersion": "1"}, "spec": spec}
        return None

    async def patch(self, key: Key, body: Object, part: str = "") -> Object:
        self.written.append(body)
        return body


async def answer(server: Requests) -> None:
    cluster, observed = cast(Cluster, server), Observed()

    def now() -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def later(key: Key, seconds: float) -> None:
        raise AssertionError("an answered request is looked at again")

    around = context(LISTED, cluster, observed, now, later)
    await reconcile_request(around, Key("CertificateSigningRequest", "", "r"))


@pytest.mark.parametrize(("namespace", "joined"), [("other", "metering.demo"), ("shop", "theirs.demo")])
def test_requests_that_another_operator_may_serve_are_left_to_it(namespace: str, joined: str) -> None:
    server = Requests(namespace, joined)
    asyncio.run(answer(server))
    assert not server.written
    # What it may not read it doesn't ask for.
    assert {key.kind for key in server.asked} == {"CertificateSigningRequest", "Namespace"}


@pytest.mark.parametrize("joined", ["", "metering.gone"])
def test_a_namespace_that_is_served_gets_an_answer(joined: str) -> None:
    server = Requests("shop", joined)
    asyncio.run(answer(server))
    (body,) = server.written
    (condition,) = cast(list[Any], body["status"]["conditions"])
    assert (condition["type"], condition["reason"]) == ("Denied", "NotAdmitted")


def test_a_namespace_that_joined_and_isnt_served_is_left_alone() -> None:
    context = cast(Context, SimpleNamespace(settings=LISTED, observed=Observed()))
    fabric = facts().fabric
    for name in ("shop", "elsewhere"):
        context.observed.set_namespace({"metadata": {"name": name, "labels": {FABRIC: fabric.id}}}, gone=False)
    assert facts_of(context, {"metadata": {"uid": "u"}}, fabric).namespaces == ("shop",)
