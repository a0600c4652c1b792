"""Peers that have no business with a relay, or mean it ill: each is refused and counted, and nothing of it is taken."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import zmq
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_protocol import batch as batches
from meterfabric_protocol import message as m
from meterfabric_protocol.merkle import CompactRange, leaf_hashes
from meterfabric_protocol.message import Target
from meterfabric_protocol.names import origin
from tests.faults import books
from tests.faults.fabric import FABRIC, TRUST_DOMAIN, Fabric
from tests.faults.load import record
from tests.faults.peer import Peer
from tests.faults.process import wait_until
from tests.pki import Authority, pem

pytestmark = pytest.mark.fault

MIB = 1 << 20
_NOW = datetime.now(UTC)
_DAY = timedelta(days=1)
_CONNECTIONS = 10_000
_CAP = 3_000
_PER_CONNECTION = 64 * 1024
"""Bytes of memory that a relay may take for one connection."""


class Intruder:
    """A producer's key, and the name its log would have."""

    def __init__(self, pod: str = "intruder") -> None:
        self.key = Ed25519PrivateKey.generate()
        self.origin = origin(FABRIC, "tests", pod, self.key.public_key().public_bytes_raw())
        self.spiffe = f"spiffe://{TRUST_DOMAIN}/fabric/{FABRIC}/ns/tests/sa/default/pod/{pod}/uid/uid-{pod}"


def authority() -> Authority:
    """A certificate authority with no scruples, valid now."""
    return Authority(names=(f"spiffe://{TRUST_DOMAIN}",), not_before=_NOW - 180 * _DAY, not_after=_NOW + 180 * _DAY)


@pytest.fixture
def trusted() -> Authority:
    """An authority that relay and sink trust beside the fabric's own."""
    return authority()


@pytest.fixture
def attacked(fabric: Fabric, trusted: Authority) -> Iterator[Fabric]:
    """A fabric that carries records; after the test, that its sink holds them and nothing else."""
    relay = fabric.add_relay("relay-0", connections=_CAP)
    sink = fabric.add_sink("archive")
    fabric.add_sidecar("pod")
    bundle = fabric.folder / "bundle.pem"
    bundle.write_bytes(fabric.trust.read_bytes() + trusted.pem)
    relay.settings["trust"] = sink.worker.settings["trust"] = str(bundle)
    fabric.start()
    with fabric.load("pod") as load:
        wait_until(lambda: load.count > 100, "records accepted")
        yield fabric
        before = load.count
        wait_until(lambda: load.count > before + 100, "and it goes on")
    fabric.settle()
    (found,) = books.check(fabric).values()
    assert not found.passed
    assert [held.size > 0 for held in found.held.values()].count(True) == 1


def refusals(fabric: Fabric, reason: str) -> float:
    """How often the relay refused for this reason."""
    return fabric.metric(fabric.relays["relay-0"], "meterfabric_relay_refused_total", reason=reason)


def test_a_hello_with_a_wrong_certificate_or_none_opens_no_session(attacked: Fabric, trusted: Authority) -> None:
    intruder = Intruder()
    other = Authority(names=(f"spiffe://{TRUST_DOMAIN}",), not_before=_NOW - 180 * _DAY, not_after=_NOW + 180 * _DAY)
    valid = trusted.issue(intruder.key, intruder.spiffe, not_before=_NOW - _DAY, not_after=_NOW + _DAY)
    expired = trusted.issue(intruder.key, intruder.spiffe, not_before=_NOW - 3 * _DAY, not_after=_NOW - _DAY)
    foreign = other.issue(intruder.key, intruder.spiffe, not_before=_NOW - _DAY, not_after=_NOW + _DAY)
    for chain, name, reason in (
        (b"", intruder.origin, "no-certificate"),
        (pem(expired), intruder.origin, "expired"),
        (pem(foreign), intruder.origin, "unknown-authority"),
        (pem(valid), Intruder("pod").origin, "wrong-name"),
        (b"-----BEGIN CERTIFICATE-----\n", intruder.origin, "malformed"),
    ):
        with Peer(attacked, attacked.relays["relay-0"]) as peer:
            before = refusals(attacked, reason)
            peer.send(m.Hello(), *peer.hello(intruder.key, chain, name))
            assert peer.refused() == reason
            peer.send(m.Batch(intruder.origin, (Target("archive", 0),)), chain, b"header", b"payload")
            assert peer.refused() == "no-session"
            assert refusals(attacked, reason) == before + 1


def test_a_hello_that_was_overheard_opens_no_other_session(attacked: Fabric, trusted: Authority) -> None:
    honest = Intruder("honest")
    chain = pem(trusted.issue(honest.key, honest.spiffe, not_before=_NOW - _DAY, not_after=_NOW + _DAY))
    relay = attacked.relays["relay-0"]
    with Peer(attacked, relay) as first, Peer(attacked, relay) as second:
        hello = first.hello(honest.key, chain, honest.origin)
        first.send(m.Hello(), *hello)
        first.expect(m.Welcome)
        second.send(m.Hello(), *hello)
        assert second.refused() == "replayed"
        forged = (hello[0], bytes(64), chain)
        first.send(m.Hello(), *forged)
        assert first.refused() == "bad-signature"
    assert refusals(attacked, "replayed") == refusals(attacked, "bad-signature") == 1


def test_a_forged_checkpoint_is_refused_by_the_sink(attacked: Fabric, trusted: Authority) -> None:
    intruder, victim = Intruder(), attacked.status("pod")["origin"]
    chain = pem(trusted.issue(intruder.key, intruder.spiffe, not_before=_NOW - _DAY, not_after=_NOW + _DAY))
    records = [record("forged", n) for n in range(10)]
    payload = batches.join(records)
    empty = CompactRange.empty()

    def sealed(name: str, key: Ed25519PrivateKey) -> bytes:
        return batches.encode_header(batches.seal(name, key, empty, leaf_hashes(records), "records", payload)[0])

    with Peer(attacked, attacked.relays["relay-0"]) as peer:
        peer.welcomed(intruder.key, chain, intruder.origin)
        own = sealed(intruder.origin, intruder.key)
        for about, name, header, body, kind, reason in (
            (
                "signed by another key",
                intruder.origin,
                sealed(intruder.origin, Ed25519PrivateKey.generate()),
                payload,
                "refused",
                "checkpoint",
            ),
            ("of another pod's log", victim, sealed(victim, intruder.key), payload, "refused", "wrong-origin"),
            ("of other records", intruder.origin, own, payload.replace(b'"n":3', b'"n":4'), "position", "root"),
            ("of no records", intruder.origin, own, b"\n" * len(payload), "refused", "malformed"),
            ("altered", intruder.origin, own[:-1] + bytes([own[-1] ^ 1]), payload, "refused", "malformed"),
        ):
            answer = peer.deliver("archive", name, chain, header, body)
            assert (answer.kind, answer.reason) == (kind, reason), f"a checkpoint {about}: {answer}"
            assert not answer.cosignature
            worker = attacked.sinks["archive"].worker
            assert attacked.metric(worker, "meterfabric_sink_answers_total", kind=kind, reason=reason) >= 1


def test_what_is_too_large_or_makes_no_sense_is_refused(attacked: Fabric, trusted: Authority) -> None:
    honest = Intruder("large")
    chain = pem(trusted.issue(honest.key, honest.spiffe, not_before=_NOW - _DAY, not_after=_NOW + _DAY))
    relay = attacked.relays["relay-0"]
    before = relay.resident()
    closed = attacked.metric(relay, "meterfabric_relay_connections_closed_total")
    for name in range(4):
        # One frame above the limit: libzmq reads its length and no more.
        with Peer(attacked, relay) as peer:
            peer.welcomed(honest.key, chain, honest.origin)
            peer.send(m.Batch(honest.origin, (Target("archive", name),)), chain, b"header", bytes(64 * MIB))
            assert peer.hung_up()
    wait_until(
        lambda: attacked.metric(relay, "meterfabric_relay_connections_closed_total") >= closed + 4, "each is counted"
    )
    assert relay.peak() < before + 24 * MIB
    for frames, message, reason in (
        ((chain, b"header", bytes(9 * MIB - 100)), m.Batch(honest.origin, (Target("archive", 0),)), "too-large"),
        ((chain, b"header", b"payload"), m.Batch(honest.origin, (Target("archive", 0),)), "no-credit"),
        ((), m.Draining(), "unexpected"),
    ):
        with Peer(attacked, relay) as peer:
            peer.welcomed(honest.key, chain, honest.origin)
            peer.send(message, *frames)
            assert peer.refused() == reason
            assert refusals(attacked, reason) == 1
    with Peer(attacked, relay) as peer:
        for garbage in ((b"",), (b"MF\x01\xff",), (b"MF\x02\x91\xa5hello",), (bytes(100_000),), (b"x",) * 20):
            peer.send_raw(*garbage)
            assert peer.refused() == "malformed"
        assert refusals(attacked, "malformed") == 5


def test_a_peer_without_curve_or_with_another_relays_key_is_turned_away_at_the_door(attacked: Fabric) -> None:
    relay = attacked.relays["relay-0"]
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    plain, wrong = context.socket(zmq.DEALER), context.socket(zmq.DEALER)
    wrong.curve_serverkey = zmq.curve_keypair()[0]
    wrong.curve_publickey, wrong.curve_secretkey = zmq.curve_keypair()
    try:
        for socket in (plain, wrong):
            before = attacked.metric(relay, "meterfabric_relay_handshakes_refused_total")
            socket.connect(f"tcp://127.0.0.1:{relay.settings['port']}")
            wait_until(
                lambda: attacked.metric(relay, "meterfabric_relay_handshakes_refused_total") > before,  # noqa: B023
                "the handshake is refused and counted",
            )
    finally:
        plain.close(0)
        wrong.close(0)
        context.term()


def test_ten_thousand_connections_meet_a_cap_and_cost_a_bounded_memory_each(attacked: Fabric) -> None:
    relay = attacked.relays["relay-0"]
    endpoint, key = f"tcp://127.0.0.1:{relay.settings['port']}", attacked.curve.public.hex()
    before = relay.resident()
    came = "meterfabric_relay_handshakes_total"
    refused = "meterfabric_relay_handshakes_refused_total"
    standing = "meterfabric_relay_connections"
    already = attacked.metric(relay, came)
    root = str(Path(__file__).parents[2])
    floods = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.faults.flood", endpoint, key, str(_CONNECTIONS // 4)],
            stdin=subprocess.PIPE,
            cwd=root,
        )
        for _ in range(4)
    ]
    most = 0.0

    def all_came() -> bool:
        nonlocal most
        most = max(most, attacked.metric(relay, standing))
        let_in = attacked.metric(relay, came)
        assert let_in - attacked.metric(relay, "meterfabric_relay_connections_closed_total") <= _CAP
        return let_in - already + attacked.metric(relay, refused) >= _CONNECTIONS

    try:
        wait_until(all_came, f"{_CONNECTIONS} connections were judged")
        wait_until(lambda: attacked.metric(relay, standing) <= _CAP, "those refused are gone")
        stand = attacked.metric(relay, standing)
        each = (relay.resident() - before) / stand
        reasons = {
            reason: attacked.metric(relay, refused, reason=reason)
            for reason in ("capacity", "flood", "incomplete", "rate")
        }
        print(
            f"{_CONNECTIONS} came, {stand:.0f} stand (cap {_CAP}), {most:.0f} at most; {each:.0f} bytes each; {reasons}"
        )
        assert stand > _CAP * 0.9
        assert most <= _CAP + 2_000, "those at their handshake, and those being hung up"
        assert reasons["capacity"] + reasons["flood"] > 0
        assert each <= _PER_CONNECTION
    finally:
        for flood in floods:
            flood.kill()
            flood.communicate()
    wait_until(lambda: attacked.metric(relay, standing) < 10, "their room is free again")
