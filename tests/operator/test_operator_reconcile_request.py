"""Certificate requests answered: signed, denied after a live read, or looked at again."""

from base64 import b64decode

import pytest

from meterfabric_operator.api.cluster import ApiError
from meterfabric_operator.keys.identity import IdentityError
from meterfabric_operator.objects import Key, Object
from meterfabric_operator.reconciling.reconcile_request import reconcile_request
from meterfabric_protocol.identity import ChainVerifier, TrustBundle
from meterfabric_protocol.names import Producer
from tests.operator.world import AUTHORITY, HISTORY, pod, request, world


async def test_a_request_of_a_live_pod_is_approved_and_signed_by_the_fabrics_root() -> None:
    made = world()
    await made.reconcile()
    pod(made)
    key = request(made)
    await reconcile_request(made.context, key)
    status = made.api.held[key]["status"]
    assert [each["type"] for each in status["conditions"]] == ["Approved"]
    bundle = made.api.held[Key("ConfigMap", "metering", "demo-trust")]["data"]["trust.pem"]
    verifier = ChainVerifier(TrustBundle(bundle.encode()))
    identity = verifier.verify(b64decode(status["certificate"]), made.now, role="producer", fabric="metering.demo")
    assert isinstance(identity.subject, Producer)
    assert identity.subject.pod == "web-0"
    made.api.log.clear()
    await reconcile_request(made.context, key)
    assert made.api.log == []


@pytest.mark.parametrize("missing", [AUTHORITY, HISTORY])
async def test_who_signs_makes_no_authority_and_waits_for_one_that_is_remembered(missing: Key) -> None:
    made = world()
    await made.reconcile()
    pod(made)
    key = request(made)
    del made.api.held[missing]
    made.api.log.clear()
    with pytest.raises(IdentityError, match="isn't there yet"):
        await reconcile_request(made.context, key)
    assert made.api.log == []
    await made.reconcile()
    await reconcile_request(made.context, key)
    assert made.api.held[key]["status"]["certificate"]


async def test_a_request_is_denied_only_after_a_live_read() -> None:
    made = world()
    await made.reconcile()
    key = request(made)
    await reconcile_request(made.context, key)
    (condition,) = made.api.held[key]["status"]["conditions"]
    assert (condition["type"], condition["reason"]) == ("Denied", "NoSuchPod")
    waiting = request(made)
    made.api.away = True
    with pytest.raises(OSError, match="no route"):
        await reconcile_request(made.context, waiting)
    made.api.away = False
    assert "conditions" not in made.api.held[waiting]["status"]


async def test_a_pod_that_is_denied_is_told_why() -> None:
    made = world()
    await made.reconcile()
    pod(made, labels={})
    await reconcile_request(made.context, request(made))
    assert "CertificateDenied" in made.events()


async def test_a_request_that_a_person_approved_isnt_signed_where_it_must_not_be() -> None:
    made = world()
    await made.reconcile()
    key = request(made, conditions=[{"type": "Approved", "status": "True", "reason": "ByHand"}])
    await reconcile_request(made.context, key)
    assert [each["type"] for each in made.api.held[key]["status"]["conditions"]] == ["Approved", "Failed"]
    assert "certificate" not in made.api.held[key]["status"]


async def test_a_request_that_changed_meanwhile_is_looked_at_again() -> None:
    made = world()
    await made.reconcile()
    pod(made)
    key = request(made)
    real = made.api.patch

    async def raced(where: Key, body: Object, part: str = "") -> Object:
        made.api.patch = real  # type: ignore[method-assign]
        await real(where, {"metadata": {"annotations": {"x": "y"}}})
        return await real(where, body, part)

    made.api.patch = raced  # type: ignore[method-assign]
    with pytest.raises(ApiError, match="Conflict"):
        await reconcile_request(made.context, key)
    await reconcile_request(made.context, key)
    assert made.api.held[key]["status"]["certificate"]
