"""A sink against an API server in memory: what it waits for, and its certificate."""

from datetime import timedelta

from meterfabric_operator.objects import Key
from tests.operator.world import BILLING, World, world


async def test_a_sink_of_no_fabric_says_so_and_makes_nothing() -> None:
    made = World()
    made.put("MeteringSink", "billing", spec={"fabric": "demo", "destination": {"file": {}}})
    await made.reconcile()
    assert made.condition(BILLING, "Ready")["reason"] == "NoFabric"
    assert not [key for key in made.api.held if key.kind in ("Deployment", "StatefulSet", "Secret")]


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
