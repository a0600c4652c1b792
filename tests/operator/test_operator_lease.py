"""The lease: one acts, another takes over, and who can't renew stops before that."""

from typing import Any, cast

from meterfabric_operator.api.cluster import Cluster
from meterfabric_operator.api.lease import Lease
from meterfabric_operator.objects import Key
from meterfabric_operator.settings import LeasePart
from tests.operator.memory_api import MemoryApi

PART = LeasePart("operator", duration=15.0, renew=5.0)
KEY = Key("Lease", "system", "operator")


class Two:
    """Two replicas, one clock that the test moves."""

    def __init__(self) -> None:
        self.api = MemoryApi()
        self.now = 100.0
        self.first, self.second = (self._lease(name) for name in ("first", "second"))

    def _lease(self, name: str) -> Lease:
        return Lease(cast(Cluster, self.api), "system", name, PART, lambda: self.now)

    @property
    def spec(self) -> dict[str, Any]:
        return cast(dict[str, Any], self.api.held[KEY]["spec"])


async def test_one_of_two_acts() -> None:
    two = Two()
    await two.first.look()
    await two.second.look()
    assert two.first.held.is_set()
    assert not two.second.held.is_set()
    assert two.spec["holderIdentity"] == "first"


async def test_who_renews_keeps_it() -> None:
    two = Two()
    for _ in range(10):
        await two.first.look()
        await two.second.look()
        two.now += 5.0
    assert two.first.held.is_set()
    assert two.spec["leaseTransitions"] == 0


async def test_another_takes_over_from_one_that_is_gone_within_20_seconds() -> None:
    two = Two()
    await two.first.look()
    await two.second.look()
    gone = two.now
    while not two.second.held.is_set():
        two.now += PART.renew / 2
        await two.second.look()
    assert two.now - gone < 20.0
    assert two.spec["leaseTransitions"] == 1
    await two.first.look()
    assert not two.first.held.is_set()


async def test_who_cant_renew_stops_before_another_may_begin() -> None:
    two = Two()
    await two.first.look()
    await two.second.look()
    two.api.away = True
    stopped = None
    for _ in range(40):
        two.now += 0.5
        await two.first.look()
        if not two.first.held.is_set():
            stopped = two.now
            break
    two.api.away = False
    assert stopped is not None
    await two.second.look()
    assert not two.second.held.is_set()
    while not two.second.held.is_set():
        two.now += 0.5
        await two.second.look()
    assert two.now - stopped > 2.0


async def test_who_lost_a_race_for_it_doesnt_act() -> None:
    two = Two()
    await two.first.look()
    two.now += 60.0
    await two.second.look()
    two.now += 60.0
    real = two.api.get

    async def stale(key: Key) -> Any:
        found = await real(key)
        two.api.get = real  # type: ignore[method-assign]
        await two.first.look()
        return found

    two.api.get = stale  # type: ignore[method-assign]
    await two.second.look()
    assert two.first.held.is_set() != two.second.held.is_set()


async def test_one_that_stops_gives_it_back() -> None:
    two = Two()
    await two.first.look()
    await two.first._release()
    assert two.spec["holderIdentity"] == ""
    await two.second.look()
    assert two.second.held.is_set()


async def test_who_stood_still_past_its_lease_holds_it_no_longer_before_it_has_looked() -> None:
    two = Two()
    await two.first.look()
    assert two.first.holds()
    two.now += PART.duration * 2 / 3
    assert two.first.held.is_set()
    assert not two.first.holds()
    await two.first.look()
    assert two.first.holds()


async def test_how_long_the_api_server_is_silent_is_counted_by_who_holds_and_by_who_waits() -> None:
    two = Two()
    await two.first.look()
    await two.second.look()
    two.api.away = True
    two.now += 7.0
    for lease in (two.first, two.second):
        await lease.look()
        assert lease.silence() == 7.0
    two.api.away = False
    for lease in (two.first, two.second):
        await lease.look()
        assert lease.silence() == 0.0
