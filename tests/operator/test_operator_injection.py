"""Injection proven by trial: where, how often, and with how much patience after a change."""

from dataclasses import replace
from typing import cast

import pytest

from meterfabric_operator.api.cluster import ApiError, Cluster
from meterfabric_operator.objects import INJECT, Object
from meterfabric_operator.sidecars import injection
from meterfabric_operator.sidecars.injection import Injection, Proof, trial_pod
from tests.operator.facts import SETTINGS
from tests.operator.memory_api import MemoryApi

WHERE = ("bar", "shop")


class Tried:
    """An API server that counts trials, and a clock."""

    def __init__(self) -> None:
        self.api = MemoryApi()
        self.now = 0.0
        self.where: list[str] = []
        admit = self.api.admit

        def counted(pod: Object) -> Object:
            self.where.append(pod["metadata"]["namespace"])
            return admit(pod)

        self.api.admit = counted  # type: ignore[method-assign]
        self.injection = Injection(cast(Cluster, self.api), replace(SETTINGS, resync=300.0), lambda: self.now)

    async def prove(self, state: str = "a", where: tuple[str, ...] = WHERE) -> Proof:
        return await self.injection.prove("metering.demo", where, state)


async def test_a_trial_keeps_nothing_and_asks_as_a_pod_does() -> None:
    made = Tried()
    assert (await made.prove()).verdict == "Proven"
    assert made.api.held == {}
    pod = trial_pod(SETTINGS, "shop")
    assert pod["metadata"]["labels"] == {INJECT: "true"}
    (container,) = pod["spec"]["containers"]
    assert container["resources"]["requests"] == container["resources"]["limits"]


async def test_what_is_proven_is_tried_again_after_a_while_and_in_another_namespace() -> None:
    made = Tried()
    proofs = []
    for made.now in (0.0, 100.0, 299.0, 301.0, 602.0):
        proofs.append(await made.prove())
    assert made.where == ["bar", "shop", "bar"]
    assert [proof.again for proof in proofs] == [300.0, 200.0, 1.0, 300.0, 300.0]


async def test_a_change_is_tried_at_once() -> None:
    made = Tried()
    await made.prove("a")
    await made.prove("b")
    assert len(made.where) == 2


async def test_after_a_change_the_server_is_given_a_moment_to_act() -> None:
    made = Tried()
    made.api.injects = False
    verdicts = []
    for _ in range(6):
        proof = await made.prove()
        verdicts.append((proof.verdict, proof.again))
        made.now += proof.again
    assert verdicts == [("Untried", injection.SOON)] * 4 + [("Inactive", injection.AGAIN)] * 2
    assert set(made.where) == {"bar"}
    made.api.injects = True
    assert (await made.prove()).verdict == "Proven"


async def test_what_was_proven_stays_so_until_trials_fail_again_and_again() -> None:
    made = Tried()
    await made.prove("a")
    made.api.injects = False
    verdicts = []
    for _ in range(5):
        proof = await made.prove("b")
        verdicts.append(proof.verdict)
        made.now += proof.again
    assert verdicts == ["Proven"] * 4 + ["Inactive"]


async def test_a_namespace_that_takes_no_pods_says_why_and_nothing_is_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Tried()

    async def refused(body: Object, *, dry_run: bool = False) -> Object:
        assert dry_run
        raise ApiError(403, "Forbidden", "exceeded quota: pods=0")

    monkeypatch.setattr(made.api, "create", refused)
    for _ in range(5):
        proof = await made.prove()
        made.now += proof.again
    assert (proof.verdict, proof.namespace, proof.said) == ("Refused", "bar", "exceeded quota: pods=0")


async def test_without_a_namespace_there_is_nothing_to_try() -> None:
    made = Tried()
    assert (await made.prove(where=())).verdict == "Nowhere"
    assert made.where == []
    assert made.injection.known("metering.demo").verdict == "Untried"
