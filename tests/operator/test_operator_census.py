"""Everything is known before anybody acts, and what watches missed is found, whatever comes in which order."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterfabric_operator.api.cluster import ApiError, Cluster
from meterfabric_operator.api.kinds import FABRIC_CHILDREN, kinds
from meterfabric_operator.objects import FABRIC, INJECT, Key, Object
from meterfabric_operator.watching import census as module
from meterfabric_operator.watching.census import Census
from meterfabric_operator.watching.handlers import SELECTORS, Watching
from meterfabric_operator.watching.observed import Observed

DEMO = Key("MeteringFabric", "metering", "demo")


class Lists:
    """An API server that is asked for lists only, two objects a page."""

    def __init__(self) -> None:
        self.kinds = kinds("admissionregistration.k8s.io/v1")
        self.held: dict[str, dict[str, Object]] = {}
        self.version = 100
        self.away = 0
        self.unserved: set[str] = set()
        self.asked: list[tuple[str, str, str]] = []

    async def pages(self, kind: str, selector: str, namespace: str, limit: int) -> AsyncIterator[Object]:
        self.asked.append((kind, selector, namespace))
        if self.away:
            self.away -= 1
            raise OSError("no route to the API server")
        if kind in self.unserved:
            raise ApiError(404, "NotFound", kind)
        found = [
            body
            for body in self.held.get(kind, {}).values()
            if namespace in ("", body["metadata"].get("namespace", namespace))
        ]
        for first in range(0, len(found) or 1, 2):
            yield {"metadata": {"resourceVersion": str(self.version)}, "items": found[first : first + 2]}

    def put(self, kind: str, name: str, namespace: str = "metering", **metadata: Any) -> Object:
        self.version += 1
        place = {"namespace": namespace} if namespace else {}
        about = {"name": name, **place, "uid": name, "resourceVersion": str(self.version), **metadata}
        made = {"metadata": about, "spec": {}}
        self.held.setdefault(kind, {})[name] = made
        return made

    def drop(self, kind: str, name: str) -> Object:
        self.version += 1
        gone = self.held[kind].pop(name)
        return {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(self.version)}}


class Counted:
    """A census, and what it made us look at."""

    def __init__(self, *namespaces: str) -> None:
        self.api = Lists()
        self.observed = Observed()
        self.keys: list[Key] = []
        self.watching = Watching(self.observed, self.keys.append)
        self.kinds = list(self.watching.takers)
        self.census = Census(cast(Cluster, self.api), self.watching, self.kinds, namespaces)

    def looked(self) -> set[Key]:
        found, self.keys[:] = set(self.keys), []
        return found

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.census.run())
        yield
        task.cancel()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AGAIN", 0.001)


async def test_everything_is_known_once_every_kind_was_listed_and_not_before() -> None:
    counted = Counted()
    counted.api.put("MeteringFabric", "demo")
    for number in range(5):
        counted.api.put("Service", f"relay-{number}", labels={FABRIC: "metering.demo"})
    counted.api.away = 3
    async with counted.running():
        async with asyncio.timeout(10):
            await counted.watching.complete.wait()
    assert [kind for kind, _, _ in counted.api.asked[-len(counted.kinds) :]] == counted.kinds
    assert len(counted.observed.children) == 5
    assert counted.looked() == {DEMO}


async def test_lists_ask_for_what_is_watched_where_it_is_watched() -> None:
    counted = Counted("metering", "shop")
    await counted.census.take()
    assert ("Pod", f"{INJECT}=true", "shop") in counted.api.asked
    assert ("Namespace", "", "") in counted.api.asked
    assert all(SELECTORS[kind] for kind in FABRIC_CHILDREN)


async def test_a_kind_that_isnt_served_is_none() -> None:
    counted = Counted()
    counted.api.unserved.add("MutatingAdmissionPolicyBinding")
    counted.api.put("MeteringFabric", "demo")
    await counted.census.take()
    assert DEMO in counted.observed.fabrics


async def test_what_went_while_no_watch_told_is_missed_and_looked_at() -> None:
    counted = Counted()
    counted.api.put("MeteringFabric", "demo")
    counted.api.put("Namespace", "shop", "", labels={FABRIC: "metering.demo"})
    counted.api.put("Pod", "meter", "shop", labels={INJECT: "true"})
    counted.api.put("Service", "demo-relay", labels={FABRIC: "metering.demo"})
    await counted.census.take()
    assert len(counted.observed.pods(("shop",))) == 1
    for kind, name in (("Service", "demo-relay"), ("Pod", "meter"), ("Namespace", "shop")):
        counted.looked()
        counted.api.drop(kind, name)
        await counted.census.take()
        assert counted.looked() == {DEMO}, kind
    assert not counted.observed.children
    assert not counted.observed.pods(("shop",))
    assert counted.observed.namespaces("metering.demo") == ()


async def test_a_census_of_what_is_known_makes_nobody_look() -> None:
    counted = Counted()
    counted.api.put("MeteringFabric", "demo")
    counted.api.put("Service", "demo-relay", labels={FABRIC: "metering.demo"})
    await counted.census.take()
    counted.looked()
    await counted.census.take()
    assert not counted.looked()


async def test_watches_that_begin_anew_have_everything_counted_again() -> None:
    counted = Counted()
    counted.api.put("Service", "demo-relay", labels={FABRIC: "metering.demo"})
    async with counted.running(), asyncio.timeout(10):
        await counted.watching.complete.wait()
        counted.api.drop("Service", "demo-relay")
        counted.watching.anew.set()
        while counted.observed.children:
            await asyncio.sleep(0.001)


async def test_an_event_older_than_the_list_changes_nothing() -> None:
    counted = Counted()
    before = counted.api.put("Service", "demo-relay", labels={FABRIC: "metering.demo"})
    gone = counted.api.drop("Service", "demo-relay")
    counted.api.put("Service", "demo-relay", labels={FABRIC: "metering.demo"}, uid="another")
    await counted.census.take()
    known = dict(counted.observed.children)
    counted.watching.take("Service", before)
    counted.watching.take("Service", gone, gone=True)
    assert counted.observed.children == known


STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "drop", "tell", "lose", "count"]), st.sampled_from("abc")), max_size=30
)


@given(STEPS)
def test_after_a_census_what_is_known_is_what_is_there(steps: list[tuple[str, str]]) -> None:
    """Events of an object come in order, late or never; lists come at any time."""
    counted = Counted()
    told: dict[str, list[tuple[Object, bool]]] = {"a": [], "b": [], "c": []}
    loop = asyncio.new_event_loop()
    try:
        for step, name in steps:
            here = name in counted.api.held.get("Service", {})
            if step == "put":
                told[name].append((counted.api.put("Service", name, labels={FABRIC: "metering.demo"}), False))
            elif step == "drop" and here:
                told[name].append((counted.api.drop("Service", name), True))
            elif step == "tell" and told[name]:
                body, gone = told[name].pop(0)
                counted.watching.take("Service", body, gone=gone)
            elif step == "lose" and told[name]:
                told[name].pop()
            elif step == "count":
                loop.run_until_complete(counted.census.take())
        loop.run_until_complete(counted.census.take())
        for name, events in told.items():
            for body, gone in events:
                counted.watching.take("Service", body, gone=gone)
            assert (Key("Service", "metering", name) in counted.observed.children) == (
                name in counted.api.held.get("Service", {})
            )
    finally:
        loop.close()
