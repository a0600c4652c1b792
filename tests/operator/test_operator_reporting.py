"""What the status of a fabric and of its sink says, and what of it is told as an event."""

from datetime import timedelta

from meterfabric_operator.objects import FINALIZER, Key
from meterfabric_operator.status import conditions as c
from meterfabric_operator.status.books import Books
from tests.operator.world import BILLING, DEMO, RELAYS, world


async def test_conditions_follow_the_children_and_each_change_is_one_event() -> None:
    made = world()
    await made.reconcile()
    assert made.condition(DEMO, "Ready")["status"] == "False"
    for key in (RELAYS, Key("Deployment", "metering", "billing-sink")):
        replicas = made.api.held[key]["spec"]["replicas"]
        status = {"readyReplicas": replicas, "updatedReplicas": replicas, "observedGeneration": None}
        await made.api.patch(key, {"status": status})
    await made.reconcile()
    assert made.condition(DEMO, "Ready")["status"] == "True"
    assert made.condition(BILLING, "Ready")["status"] == "True"
    assert made.events().count("AllReachable") == 1


async def test_a_fabric_says_six_things_each_with_reason_message_and_time() -> None:
    made = world(relay={"replicas": 2})
    began = made.now
    await made.reconcile()
    made.now += timedelta(minutes=5)
    await made.reconcile()
    made.put(
        "MeteringFabric", "demo", spec={"reconcile": "Paused"}, metadata={"finalizers": [FINALIZER], "generation": 2}
    )
    await made.api.patch(DEMO, {"status": made.observed.fabrics[DEMO]["status"]})
    made.now += timedelta(minutes=5)
    await made.reconcile()
    found = made.api.held[DEMO]["status"]["conditions"]
    assert [each["type"] for each in found] == list(c.OF_FABRIC)
    assert all(each["reason"] and each["message"] for each in found)
    assert [each["observedGeneration"] for each in found] == [2, 1, 1, 1, 1, 1]
    times = [began + timedelta(minutes=10), *[began] * 5]
    assert [each["lastTransitionTime"] for each in found] == [each.strftime("%Y-%m-%dT%H:%M:%SZ") for each in times]


async def test_the_first_certificate_to_run_out_is_the_one_that_is_told() -> None:
    made = world()
    await made.reconcile()
    of_sink = made.api.held[BILLING]["status"]["certificateExpiry"]
    assert made.api.held[DEMO]["status"]["certificateExpiry"] == of_sink
    assert of_sink < (made.now + timedelta(days=40)).isoformat()


async def test_records_of_a_pod_that_is_gone_unbalance_the_books() -> None:
    made = world()
    made.observed.books[BILLING] = Books({"delivered": 10, "abandoned": 7}, 0, made.now, 1, {"shop/web-0": 7})
    await made.reconcile()
    condition = made.condition(DEMO, "BooksBalanced")
    assert (condition["status"], condition["reason"]) == ("False", "RecordsAbandoned")
    status = made.api.held[DEMO]["status"]
    assert (status["books"]["accepted"], status["books"]["abandoned"]) == (17, 7)
    assert status["sinks"][0]["books"] == status["books"]
    assert made.events().count("RecordsAbandoned") == 1
    for unclosed, told in ((2, 2), (2, 2), (1, 2)):
        made.observed.books[BILLING] = Books({"abandoned": 9}, 0, made.now, unclosed, {"shop/web-0": 9})
        await made.reconcile()
        assert made.events().count("RecordsAbandoned") == told


async def test_what_fails_and_keeps_a_fabric_from_being_ready_is_told_once() -> None:
    made = world()
    await made.reconcile()
    assert made.condition(DEMO, "Ready")["reason"] == made.condition(DEMO, "RelaysAvailable")["reason"]
    messages = [
        (body["reason"], body["note"])
        for key, body in made.api.held.items()
        if key.kind == "Event" and body["regarding"]["kind"] == "MeteringFabric"
    ]
    assert len(messages) == len(set(messages))


async def test_what_only_a_newer_version_knows_is_left_out_and_told_once() -> None:
    made = world(relay={"replicas": 3, "colour": "red"}, newer={"enabled": True})
    made.put(
        "MeteringSink",
        "billing",
        spec={"fabric": "demo", "destination": {"file": {"storage": {"newer": 1}}}},
    )
    await made.reconcile()
    assert made.api.held[RELAYS]["spec"]["replicas"] == 3
    condition = made.condition(DEMO, "FieldsIgnored")
    assert (condition["status"], condition["reason"]) == ("True", "NewerVersion")
    assert "spec.relay.colour, spec.newer" in condition["message"]
    assert "spec.destination.file.storage.newer" in made.condition(BILLING, "FieldsIgnored")["message"]
    assert made.events().count("NewerVersion") == 2
    made.put("MeteringFabric", "demo", spec={}, metadata={"finalizers": [FINALIZER]})
    await made.reconcile()
    assert made.condition(DEMO, "FieldsIgnored") == {}
