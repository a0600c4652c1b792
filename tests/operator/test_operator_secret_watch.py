"""Secrets watched by their metadata: what is taken, and that nothing is missed when a watch ends."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from meterfabric_operator.api.cluster import ApiError, Cluster
from meterfabric_operator.objects import FABRIC, SINK, Key, Object
from meterfabric_operator.watching.handlers import Watching
from meterfabric_operator.watching.observed import Observed
from meterfabric_operator.watching.secret_watch import SecretWatch

DEMO = Key("MeteringFabric", "metering", "demo")
BILLING = Key("MeteringSink", "metering", "billing")


def secret(name: str, version: int = 1, fabric: str = "metering.demo", **labels: str) -> Object:
    metadata = {"namespace": "metering", "name": name, "resourceVersion": str(version)}
    return {"metadata": {**metadata, "labels": {FABRIC: fabric, **labels}, "managedFields": ["long"]}}


class Server:
    """Answers one list after another; each watch tells its events, then ends as it is told to."""

    def __init__(self, *rounds: tuple[list[Object], list[tuple[str, Object]], Exception | None]) -> None:
        self.rounds = list(rounds)
        self.asked: list[tuple[str, str]] = []
        self.over = asyncio.Event()

    async def list_metadata(self, kind: str, selector: str, namespace: str = "") -> tuple[list[Object], str]:
        self.asked.append((selector, namespace))
        if not self.rounds:
            self.over.set()
            await asyncio.Event().wait()
        return self.rounds[0][0], "7"

    async def watch(self, kind: str, selector: str, namespace: str, version: str) -> AsyncIterator[tuple[str, Object]]:
        assert version == "7"
        _, events, end = self.rounds.pop(0)
        for event in events:
            yield event
        if end is not None:
            raise end


async def watched(server: Server, *namespaces: str) -> list[tuple[str, bool]]:
    told: list[tuple[str, bool]] = []

    def take(body: dict[str, Any], gone: bool) -> None:
        assert set(body) == {"kind", "metadata"}
        assert "managedFields" not in body["metadata"]
        told.append((body["metadata"]["name"], gone))

    task = asyncio.create_task(SecretWatch(cast(Cluster, server), namespaces, take).run())
    await server.over.wait()
    task.cancel()
    return told


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meterfabric_operator.watching.secret_watch._PAUSES", (0.0, 0.0))


async def test_what_is_there_and_what_happens_is_told() -> None:
    events = [("MODIFIED", secret("a", 2)), ("DELETED", secret("a", 2)), ("ADDED", secret("b"))]
    server = Server(([secret("a")], events, None))
    assert await watched(server) == [("a", False), ("a", False), ("a", True), ("b", False)]
    assert server.asked[0] == ("app.kubernetes.io/managed-by=meterfabric-operator", "")


@pytest.mark.parametrize(
    "end", [None, ApiError(410, "Expired", "too old"), OSError("cut"), ApiError(403, "Forbidden", "no")]
)
async def test_what_happened_while_nobody_watched_is_told_and_nothing_twice(end: Exception | None) -> None:
    first = [secret("stays"), secret("goes"), secret("changes")]
    server = Server((first, [], end), ([secret("stays"), secret("changes", 2), secret("new")], [], None))
    assert (await watched(server))[3:] == [("goes", True), ("changes", False), ("new", False)]


async def test_listed_namespaces_are_asked_one_by_one() -> None:
    server = Server()
    await watched(server, "audit", "metering")
    await asyncio.sleep(0)
    assert {namespace for _, namespace in server.asked} == {"audit", "metering"}


def test_whose_it_is_and_whose_it_was_are_looked_at() -> None:
    looked: list[Key] = []
    watching = Watching(Observed(), looked.append)

    def take(body: Object, gone: bool = False) -> set[Key]:
        looked.clear()
        watching.secret({"kind": "Secret", **body}, gone)
        return set(looked)

    assert take(secret("billing-sink", **{SINK: "billing"})) == {DEMO, BILLING}
    other = Key("MeteringFabric", "metering", "other")
    assert take(secret("billing-sink", 2, "metering.other")) == {DEMO, BILLING, other}
    assert take(secret("billing-sink", 2, "metering.other"), gone=True) == {other}
