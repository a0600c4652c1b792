"""The pods that meter: whether new ones get a sidecar, who has none, who is replaced."""

from datetime import timedelta

from tests.operator.world import DEMO, unmetered, world


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
