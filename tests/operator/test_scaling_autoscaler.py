"""The autoscaler against an API server in memory and relays that say how busy they are."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from meterfabric_operator.api.cluster import ApiError, Cluster
from meterfabric_operator.api.events import Events
from meterfabric_operator.api.fence import NotActing
from meterfabric_operator.objects import Key, Object
from meterfabric_operator.reconciling.reconcile_fabric import reconcile_fabric
from meterfabric_operator.scaling import autoscaler as a
from meterfabric_operator.scaling.meters import ScalingMeters
from meterfabric_operator.scaling.outcome import Outcome
from tests.operator.test_scaling_asking import NOW, pod, relays
from tests.operator.world import DEMO, World, world

QUICK = {"scaleDown": {"stabilizationWindowSeconds": 30}}


class Scaled:
    """A fabric in memory, its relays, and the autoscaler; 15 seconds pass with each look."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, replicas: int = 2, **spec: Any) -> None:
        autoscaling = {"minReplicas": 2, "maxReplicas": 6, "targetUtilization": 50, "behavior": QUICK, **spec}
        self.world: World = world(relay={"replicas": replicas, "autoscaling": autoscaling})
        self.world.now = NOW
        self.clock = 0.0
        self.looked: list[Key] = []
        self.managers: list[str] = []
        self._monkeypatch = monkeypatch
        cluster = cast(Cluster, self.world.api)
        self.scaler = a.Autoscaler(
            cluster,
            self.world.observed,
            Events(cluster, "replica"),
            lambda: self.world.now,
            self.looked.append,
            lambda: self.clock,
        )
        patch = self.world.api.patch

        async def noting(key: Key, body: Object, part: str = "", *, manager: str = "") -> Object:
            if part == "scale":
                self.managers.append(manager)
            return await patch(key, body, part, **({"manager": manager} if manager else {}))

        monkeypatch.setattr(self.world.api, "patch", noting)

    @property
    def replicas(self) -> int:
        """What the fabric says."""
        return int(self.world.api.held[DEMO]["spec"]["relay"]["replicas"])

    async def look(self, *busy: float, told: bool = True) -> int:
        """Relays that are so busy, each a pod that is ready; the number after a look. ``told``: watching told all."""
        api = self.world.api
        labels = {"app.kubernetes.io/component": "relay", "meterfabric.io/fabric": "metering.demo"}
        for key in [key for key in api.held if key.kind == "Pod"]:
            del api.held[key]
        async with relays(self._monkeypatch, *({"utilization": each} for each in busy)) as addresses:
            for address in addresses:
                made = pod(ip=address, name=f"relay-{address}")
                made["metadata"]["labels"] = labels
                await api.create({"kind": "Pod", "apiVersion": "v1", **made})
            if told:
                self.world.tell()
            self.clock += 15.0
            async with aiohttp.ClientSession() as session:
                await self.scaler.look(session)
        self.world.tell()
        return self.replicas

    def events(self) -> list[tuple[str, str]]:
        """Reason and note of each event about scaling."""
        held = [body for key, body in self.world.api.held.items() if key.kind == "Event"]
        return [(each["reason"], each["note"]) for each in held if "escale" in each["reason"]]

    def outcome(self) -> Outcome:
        return self.world.observed.scaling[DEMO]

    def reasons(self) -> dict[str, str]:
        return {each.type: each.reason for each in self.outcome().conditions}


async def test_relays_grow_with_the_load_and_shrink_after_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    scaled = Scaled(monkeypatch)
    assert await scaled.look(0.9, 0.9) == 4
    assert scaled.managers == [a.MANAGER]
    assert scaled.events() == [
        ("SuccessfulRescale", "New size: 4; reason: utilization of relays, 90 %, is above target")
    ]
    assert scaled.reasons() == {
        "AbleToScale": "SucceededRescale",
        "ScalingActive": "ValidMetricFound",
        "ScalingLimited": "DesiredWithinRange",
    }
    assert (scaled.outcome().current, scaled.outcome().desired, scaled.outcome().utilization) == (2, 4, 90)
    assert await scaled.look(0.1, 0.1, 0.1, 0.1) == 4
    assert scaled.reasons()["AbleToScale"] == "ScaleDownStabilized"
    assert await scaled.look(0.1, 0.1, 0.1, 0.1) == 2
    assert [reason for reason, _ in scaled.events()] == ["SuccessfulRescale"] * 2


async def test_the_deployment_follows_and_the_status_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    scaled = Scaled(monkeypatch)
    await scaled.world.reconcile()
    await scaled.look(1.0, 1.0)
    await scaled.world.reconcile()
    deployment = scaled.world.api.held[Key("Deployment", "metering", "demo-relay")]
    assert deployment["spec"]["replicas"] == 4
    assert scaled.world.condition(DEMO, "ScalingActive")["status"] == "True"
    assert scaled.world.api.held[DEMO]["status"]["autoscaling"] == {
        "desiredReplicas": 4,
        "lastScaleTime": "2026-11-24T12:00:00Z",
    }


async def test_a_status_survives_the_operators_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    scaled = Scaled(monkeypatch)
    await scaled.look(1.0, 1.0)
    await scaled.world.reconcile()
    before = scaled.world.api.held[DEMO]["status"]
    scaled.world.observed.scaling.clear()
    await scaled.world.reconcile()
    assert scaled.world.api.held[DEMO]["status"] == before


async def test_who_takes_over_begins_with_the_number_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    scaled = Scaled(monkeypatch, replicas=5)
    for _ in range(2):
        assert await scaled.look(*[0.01] * 5) == 5
    may, first = asyncio.Event(), scaled.scaler
    running = asyncio.create_task(first.run(may))
    await asyncio.sleep(0)  # it begins, isn't allowed, and forgets
    running.cancel()
    assert await scaled.look(*[0.01] * 5) == 5


async def test_switched_off_the_number_stays_and_nothing_more_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    scaled = Scaled(monkeypatch)
    await scaled.look(1.0, 1.0)
    await scaled.world.reconcile()
    del scaled.world.api.held[DEMO]["spec"]["relay"]["autoscaling"]
    assert await scaled.look(1.0, 1.0, 1.0, 1.0) == 4
    await scaled.world.reconcile()
    assert scaled.world.condition(DEMO, "ScalingActive") == {}
    assert "autoscaling" not in scaled.world.api.held[DEMO]["status"]
    assert scaled.world.observed.scaling == {}


@pytest.mark.parametrize("spec", [{"reconcile": "Paused"}, {"trustDomain": 7}])
async def test_a_fabric_that_is_paused_or_cant_be_read_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, spec: dict[str, Any]
) -> None:
    scaled = Scaled(monkeypatch)
    scaled.world.api.held[DEMO]["spec"] |= spec
    assert await scaled.look(1.0, 1.0) == 2


async def test_relays_that_dont_answer_hold_everything_and_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    scaled = Scaled(monkeypatch, replicas=4)
    assert await scaled.look() == 4
    assert scaled.reasons() == {"ScalingActive": "FailedGetPodsMetric"}
    await scaled.world.reconcile()
    assert scaled.world.condition(DEMO, "ScalingActive")["status"] == "False"
    assert "FailedGetPodsMetric" in scaled.world.events()


async def test_what_a_person_writes_meanwhile_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    scaled = Scaled(monkeypatch)
    scaled.world.tell()
    key, held = DEMO, scaled.world.api.held
    scaled.world.api._put("put", key, {**held[key], "spec": {"relay": {**held[key]["spec"]["relay"], "replicas": 3}}})
    assert await scaled.look(1.0, 1.0, told=False) == 3
    assert scaled.reasons()["AbleToScale"] == "FailedUpdateScale"
    assert scaled.outcome().desired == 2
    assert await scaled.look(1.0, 1.0, 1.0) == 6


async def test_a_status_that_was_written_meanwhile_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    scaled = Scaled(monkeypatch)
    scaled.world.tell()
    await scaled.world.api.patch(DEMO, {"status": {"books": {}}}, "status")
    assert await scaled.look(1.0, 1.0, told=False) == 4


async def test_an_api_server_that_is_away_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scaled = Scaled(monkeypatch)
    await scaled.look(0.5, 0.5)
    before = scaled.outcome()

    async def away(*_: object) -> list[Object]:
        raise ApiError(503, "ServiceUnavailable", "starting")

    monkeypatch.setattr(scaled.world.api, "list", away)
    assert await scaled.look(1.0, 1.0) == 2
    assert scaled.outcome() == before


async def test_the_metrics_say_how_many_how_busy_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    scaled = Scaled(monkeypatch, maxReplicas=3)
    await scaled.look(1.0, 1.0)
    registry = CollectorRegistry()
    registry.register(ScalingMeters(scaled.world.observed))
    lines = generate_latest(registry).decode().splitlines()
    assert 'meterfabric_operator_relays{fabric="metering.demo",of="current"} 2.0' in lines
    assert 'meterfabric_operator_relays{fabric="metering.demo",of="desired"} 3.0' in lines
    assert 'meterfabric_operator_relay_utilization{fabric="metering.demo"} 1.0' in lines
    limited = 'fabric="metering.demo",reason="TooManyReplicas",type="ScalingLimited"'
    assert f"meterfabric_operator_scaling{{{limited}}} 1.0" in lines


async def test_who_lost_the_lease_amid_a_look_writes_nothing_and_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    scaled = Scaled(monkeypatch)

    async def fenced(*_: object, **__: object) -> Object:
        raise NotActing("this replica acts no longer")

    with monkeypatch.context() as lost:
        lost.setattr(scaled.world.api, "patch", fenced)
        assert await scaled.look(1.0, 1.0) == 2
    assert scaled.events() == []
    assert DEMO not in scaled.world.observed.scaling
    assert await scaled.look(1.0, 1.0) == 4


async def test_how_busy_relays_are_alone_makes_nobody_look(monkeypatch: pytest.MonkeyPatch) -> None:
    scaled = Scaled(monkeypatch)
    for busy in (0.50, 0.51, 0.49):
        await scaled.look(busy, busy)
    assert scaled.looked == [DEMO]
    await reconcile_fabric(scaled.world.context, DEMO)
