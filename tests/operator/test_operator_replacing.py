"""Replacing pods that have no sidecar: only those that come again, at a rate, never in vain, never while unproven."""

from itertools import pairwise
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from meterfabric_operator.api.cluster import Cluster
from meterfabric_operator.api.events import Events
from meterfabric_operator.objects import Key
from meterfabric_operator.sidecars.injection import Injection
from meterfabric_operator.sidecars.replacing import Bucket, Replacer
from meterfabric_operator.watching.observed import MeteringPod
from tests.operator.facts import SETTINGS
from tests.operator.memory_api import MemoryApi

EARLY, LATE = "2026-11-24T11:00:00Z", "2026-11-24T12:30:00Z"


def pod(name: str, owner: str = "rs", created: str = EARLY, *, replaceable: bool = True, why: str = "x") -> MeteringPod:
    return MeteringPod("shop", name, why, f"u-{name}", owner, created, replaceable)


class Replaced:
    """A replacer against an API server in memory."""

    def __init__(self) -> None:
        self.api = MemoryApi()
        self.now = 0.0
        cluster = cast(Cluster, self.api)
        injection = Injection(cluster, SETTINGS, lambda: self.now)
        self.replacer = Replacer(cluster, injection, Events(cluster, "me"), lambda: self.now)

    async def look(self, *pods: MeteringPod, per_minute: int = 60) -> float | None:
        return await self.replacer.replace("metering.demo", per_minute, pods)

    @property
    def evicted(self) -> list[str]:
        return [key.name for verb, key in self.api.log if verb == "evict"]


@given(st.lists(st.floats(0.0, 120.0), max_size=60), st.integers(1, 600))
def test_a_bucket_never_gives_more_than_its_rate(pauses: list[float], per_minute: int) -> None:
    now = 0.0
    bucket = Bucket(lambda: now)
    taken = []
    for pause in pauses:
        now += pause
        if not bucket.wait(per_minute):
            bucket.take()
            taken.append(now)
    assert all(later - earlier >= 60.0 / per_minute - 1e-6 for earlier, later in pairwise(taken))


def test_a_bucket_that_is_waited_for_gives() -> None:
    now = 0.0
    bucket = Bucket(lambda: now)
    assert bucket.wait(6) == 0.0
    bucket.take()
    assert bucket.wait(6) == 10.0
    now = 10.0
    assert bucket.wait(6) == 0.0


async def test_one_is_evicted_at_a_time_and_the_next_when_the_rate_allows() -> None:
    made = Replaced()
    pods = [pod("a"), pod("b")]
    assert await made.look(*pods, per_minute=6) == 10.0
    made.now = 4.0
    assert await made.look(*pods, per_minute=6) == 6.0
    assert made.evicted == ["a"]
    made.now = 10.0
    await made.look(*pods, per_minute=6)
    assert made.evicted == ["a", "b"]
    assert made.replacer.evicted("metering.demo") == 2


async def test_only_what_comes_again_and_lacks_a_sidecar_is_evicted() -> None:
    made = Replaced()
    assert await made.look(pod("bare", replaceable=False), pod("fine", why="")) is None
    assert made.evicted == []


async def test_never_while_a_trial_in_the_pods_namespace_doesnt_prove_that_the_next_one_is_injected() -> None:
    made = Replaced()
    made.api.injects = False
    assert await made.look(pod("a")) is None
    assert made.evicted == []


async def test_what_a_budget_protects_is_left_alone_for_a_while_and_the_others_go_on() -> None:
    made = Replaced()
    made.api.budgeted = {Key("Pod", "shop", "a")}
    await made.look(pod("a"), pod("b"))
    made.now = 2.0
    await made.look(pod("a"), pod("b"))
    assert made.evicted == ["b"]
    made.api.budgeted.clear()
    made.now = 30.0
    await made.look(pod("a"))
    assert made.evicted == ["b"]
    made.now = 70.0
    await made.look(pod("a"))
    assert made.evicted == ["b", "a"]


async def test_what_comes_back_without_a_sidecar_is_not_evicted_in_vain_but_others_of_then_are() -> None:
    made = Replaced()
    await made.look(pod("a"))
    made.now = 60.0
    assert await made.look(pod("again", created=LATE)) is None
    await made.look(pod("again", created=LATE), pod("b"), pod("other", owner="another", created=LATE))
    made.now = 120.0
    await made.look(pod("again", created=LATE), pod("other", owner="another", created=LATE))
    assert made.evicted == ["a", "b", "other"]


async def test_what_was_made_in_a_later_outage_is_evicted_again() -> None:
    made = Replaced()
    await made.look(pod("a"))
    made.replacer.unproven("metering.demo")
    made.now = 60.0
    await made.look(pod("later", created=LATE))
    assert made.evicted == ["a", "later"]
