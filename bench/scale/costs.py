"""What a relay does again and again, each by itself: CURVE handshakes and HELLO's verification."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime

import zmq

from bench import processes
from bench.report import say
from bench.scale.ground import FABRIC, Ground, Peer, Relay, ground
from bench.scale.loading import wait
from meterfabric_protocol.hello import VERSION, HelloBody, sign_hello, verify_hello
from meterfabric_protocol.identity import ChainVerifier, TrustBundle
from meterfabric_runtime.curve import CurveKeys
from meterfabric_runtime.zmq_options import Bounds, open_socket

HANDSHAKES = 1_000
HELLOS = 1_000


def measure() -> None:
    """Print each."""
    with ground() as here:
        curve = _curve(here, here.start("relay-0"))
        say(
            "curve_handshake",
            curve * 1e6,
            "us",
            f"of the relay's processor, {HANDSHAKES:,} connections without a HELLO",
        )
        unknown, known = _hello(here)
        say("hello_verification", unknown * 1e6, "us", f"{HELLOS:,} HELLOs, each of a certificate not seen before")
        say("hello_verification_known", known * 1e6, "us", "the same, of certificates seen before")


def _curve(here: Ground, relay: Relay) -> float:
    """Seconds of the relay's processor for each connection, TCP and ZMTP included."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.set(zmq.MAX_SOCKETS, 3 * HANDSHAKES)
    sockets, monitors = [], []
    used = processes.cpu_seconds(relay.pid)
    for _ in range(HANDSHAKES):
        curve = CurveKeys.generate().client(here.curve.public)
        socket = open_socket(context, zmq.DEALER, Bounds(), curve=curve)
        monitors.append(socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED))
        socket.connect(f"tcp://127.0.0.1:{relay.port}")
        sockets.append(socket)
    wait(lambda: all(monitor.poll(0) for monitor in monitors), "every handshake is done", [])
    used = processes.cpu_seconds(relay.pid) - used
    for socket in (*monitors, *sockets):
        socket.close(0)
    context.term()
    return used / HANDSHAKES


def _hello(here: Ground) -> tuple[float, float]:
    """Seconds of processor for a HELLO of an unknown certificate and of a known one."""
    verifier, at = ChainVerifier(TrustBundle(here.trust)), datetime.now(UTC)
    shown = [(peer, *_signed(here, peer)) for peer in here.producers(HELLOS)]

    def verify() -> float:
        begun = time.process_time()
        for peer, client_curve, body, signature in shown:
            verify_hello(
                body,
                signature,
                peer.chain,
                client_curve=client_curve,
                relay_curve=here.curve.public,
                verifier=verifier,
                at=at,
                fabric=FABRIC,
            )
        return (time.process_time() - begun) / HELLOS

    return verify(), verify()


def _signed(here: Ground, peer: Peer) -> tuple[bytes, bytes, bytes]:
    client = CurveKeys.generate().public
    nonce = secrets.token_bytes(16)
    body = HelloBody(VERSION, "producer", peer.name, client, here.curve.public, nonce, "", 0, int(time.time()))
    return client, *sign_hello(body, peer.key)
