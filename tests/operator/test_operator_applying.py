"""Objects are sent where something differs, and only then: also after a start, when nothing is remembered."""

from typing import Any, cast

from meterfabric_operator.api.cluster import Cluster
from meterfabric_operator.objects import FABRIC, Key, Object
from meterfabric_operator.reconciling.applying import Applier
from meterfabric_operator.watching.handlers import Watching
from meterfabric_operator.watching.observed import Observed
from tests.operator.memory_api import MemoryApi

KEY = Key("Service", "metering", "demo-relay")


class Started:
    """An operator that was just started, before an API server that may hold what another one applied."""

    def __init__(self, api: MemoryApi) -> None:
        self.api = api
        self.observed = Observed()
        self.keys: list[Key] = []
        self.watching = Watching(self.observed, self.keys.append)
        for key, body in api.held.items():
            self.watching.take(key.kind, body)
        self.keys.clear()
        self.applier = Applier(cast(Cluster, api), self.observed)


def service(port: int = 1) -> Object:
    metadata: dict[str, Any] = {"namespace": "metering", "name": "demo-relay", "labels": {FABRIC: "metering.demo"}}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": port}]}}


async def test_what_watching_tells_of_our_own_write_makes_nobody_look() -> None:
    first = Started(MemoryApi())
    await first.applier.apply([service()])
    first.watching.take("Service", first.api.held[KEY])
    assert not first.keys
    await first.applier.apply([service()])
    assert first.applier.applied == 1


async def test_after_a_start_what_is_as_it_is_wanted_isnt_sent_again() -> None:
    api = MemoryApi()
    await Started(api).applier.apply([service()])
    second = Started(api)
    await second.applier.apply([service()])
    await second.applier.apply([service()])
    assert second.applier.applied == 0
    await second.applier.apply([service(2)])
    assert second.applier.applied == 1


async def test_what_somebody_changed_while_nobody_watched_is_put_right_after_a_start() -> None:
    api = MemoryApi()
    await Started(api).applier.apply([service()])
    await api.patch(KEY, {"spec": {"ports": [{"port": 7}]}})
    second = Started(api)
    await second.applier.apply([service()])
    assert api.held[KEY]["spec"] == {"ports": [{"port": 1}]}


async def test_what_somebody_changes_before_it_was_compared_is_put_right() -> None:
    api = MemoryApi()
    await Started(api).applier.apply([service()])
    second = Started(api)
    await api.patch(KEY, {"spec": {"ports": [{"port": 7}]}})
    second.watching.take("Service", api.held[KEY])
    await second.applier.apply([service()])
    assert second.applier.applied == 1


async def test_an_older_event_doesnt_make_what_we_wrote_look_changed() -> None:
    first = Started(MemoryApi())
    await first.applier.apply([service()])
    older = first.api.held[KEY]
    await first.applier.apply([service(2)])
    first.watching.take("Service", older)
    await first.applier.apply([service(2)])
    assert first.applier.applied == 2
