"""Enrolment: asked for at once, asked again after a no, renewed in time, and only for the key that signs now."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_protocol.names import Producer
from meterfabric_runtime.authority import LocalAuthority
from meterfabric_runtime.roots import Lifetimes
from meterfabric_sidecar import enrolment as module
from meterfabric_sidecar.enrolment import Enrolment

SUBJECT = Producer("example.org", "metering.main", "shop", "web", "web-0", "u-1")


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


class Told:
    """What the sidecar was told."""

    def __init__(self) -> None:
        self.chains: list[tuple[str, bytes]] = []

    def __call__(self, origin: str, chain: bytes, not_after: datetime) -> None:
        assert not_after > datetime.now(UTC) - timedelta(minutes=1)
        self.chains.append((origin, chain))


def authority(folder: Path, *, admits: Callable[[], bool] = lambda: True, lifetime: timedelta) -> LocalAuthority:
    return LocalAuthority(
        folder,
        trust_domain="example.org",
        admits=lambda subject: admits(),
        clock=lambda: datetime.now(UTC),
        lifetimes=Lifetimes(producer=lifetime),
    )


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSES", (0.01, 0.05))


async def test_a_certificate_is_asked_for_at_once(tmp_path: Path) -> None:
    told = Told()
    enrolment = Enrolment(authority(tmp_path, lifetime=timedelta(hours=72)), SUBJECT.spiffe, told)
    assert enrolment.problem
    enrolment.begin("a", Ed25519PrivateKey.generate(), None)
    await until(lambda: told.chains)
    assert enrolment.problem is None
    await enrolment.close()
    assert [origin for origin, _ in told.chains] == ["a"]


async def test_who_is_not_admitted_asks_again_until_he_is(tmp_path: Path) -> None:
    admitted = [False]
    told = Told()
    place = authority(tmp_path, admits=lambda: admitted[0], lifetime=timedelta(hours=72))
    enrolment = Enrolment(place, SUBJECT.spiffe, told)
    enrolment.begin("a", Ed25519PrivateKey.generate(), None)
    await until(lambda: "not-admitted" in (enrolment.problem or ""))
    assert not told.chains
    admitted[0] = True
    await until(lambda: told.chains)
    await enrolment.close()


async def test_a_certificate_past_a_third_of_its_time_is_renewed(tmp_path: Path) -> None:
    told, key = Told(), Ed25519PrivateKey.generate()
    place = authority(tmp_path, lifetime=timedelta(hours=72))
    later = [timedelta(0)]
    enrolment = Enrolment(place, SUBJECT.spiffe, told, now=lambda: datetime.now(UTC) + later[0])
    enrolment.begin("a", key, None)
    await until(lambda: told.chains)
    later[0] = timedelta(hours=25)
    enrolment.begin("a", key, told.chains[0][1])
    # The authority's clock is a day behind here, so each is due at once: asked for ever more slowly, not in a rush.
    await until(lambda: len(told.chains) > 1)
    await enrolment.close()
    assert len(told.chains) < 10


async def test_only_the_key_that_signs_now_is_cared_for(tmp_path: Path) -> None:
    admitted = [False]
    told = Told()
    place = authority(tmp_path, admits=lambda: admitted[0], lifetime=timedelta(hours=72))
    enrolment = Enrolment(place, SUBJECT.spiffe, told)
    enrolment.begin("old", Ed25519PrivateKey.generate(), None)
    enrolment.begin("new", Ed25519PrivateKey.generate(), None)
    admitted[0] = True
    await until(lambda: told.chains)
    await enrolment.close()
    assert {origin for origin, _ in told.chains} == {"new"}
