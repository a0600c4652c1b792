"""Sockets with every bound set: nothing here opens a zmq socket with libzmq's unlimited defaults."""

import random
from dataclasses import dataclass, field

import zmq


@dataclass(frozen=True)
class Bounds:
    """Limits and times of one socket. Times are in milliseconds, sizes in bytes."""

    message: int = 9 * 1024 * 1024  # one frame; a peer that sends a larger one is disconnected
    queued: int = 1000  # messages per peer and direction
    linger: int = 1000  # how long close() goes on sending
    handshake: int = 10_000  # ZMTP and CURVE together
    heartbeat: int = 5_000
    heartbeat_timeout: int = 15_000
    reconnect: int = 100  # first pause; doubles up to reconnect_max
    reconnect_max: int = 5_000
    backlog: int = 1024  # connections waiting for accept


@dataclass(frozen=True)
class CurveServer:
    """The server's half of CurveZMQ (RFC 26): its own secret key; clients are judged by ZAP under `domain`."""

    secret_key: bytes = field(repr=False)  # Z85, 40 bytes
    domain: str = "meterfabric"


@dataclass(frozen=True)
class CurveClient:
    """The client's half of CurveZMQ (RFC 26): the server's public key, known beforehand, and a key pair of its own."""

    server_key: bytes  # Z85, 40 bytes
    public_key: bytes
    secret_key: bytes = field(repr=False)


def open_socket(
    context: zmq.Context[zmq.Socket[bytes]],
    kind: int,
    bounds: Bounds,
    *,
    curve: CurveServer | CurveClient | None = None,
    jitter: random.Random | None = None,
    immediate: bool = True,
) -> zmq.Socket[bytes]:
    """Make a socket of `kind` (zmq.ROUTER, zmq.DEALER, …), bounded, not yet bound or connected.

    A ROUTER refuses to send to a peer that it does not have. A DEALER that is `immediate` queues only for a connection
    that stands, so that nothing meant for one session reaches the next; at the connection's end libzmq 4.3.5 then also
    drops what came in and was not read yet, so the protocol must be one that asks again. Reconnect pauses are drawn
    anew for each socket, as libzmq's own jitter is never more than the first pause.
    """
    draw = jitter or random.SystemRandom()
    socket = context.socket(kind)
    try:
        socket.setsockopt(zmq.MAXMSGSIZE, bounds.message)
        socket.setsockopt(zmq.SNDHWM, bounds.queued)
        socket.setsockopt(zmq.RCVHWM, bounds.queued)
        socket.setsockopt(zmq.LINGER, bounds.linger)
        socket.setsockopt(zmq.HANDSHAKE_IVL, bounds.handshake)
        socket.setsockopt(zmq.HEARTBEAT_IVL, bounds.heartbeat)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, bounds.heartbeat_timeout)
        # In tenths of a second on the wire, at most 6553 s: the peer drops us when it hears nothing for so long.
        socket.setsockopt(zmq.HEARTBEAT_TTL, bounds.heartbeat_timeout)
        socket.setsockopt(zmq.RECONNECT_IVL, draw.randint(bounds.reconnect, 2 * bounds.reconnect))
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, draw.randint(bounds.reconnect_max // 2, bounds.reconnect_max))
        socket.setsockopt(zmq.BACKLOG, bounds.backlog)
        if kind == zmq.ROUTER:
            socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        if kind == zmq.DEALER:
            socket.setsockopt(zmq.IMMEDIATE, int(immediate))
        _secure(socket, curve)
    except BaseException:
        socket.close(0)
        raise
    return socket


def _secure(socket: zmq.Socket[bytes], curve: CurveServer | CurveClient | None) -> None:
    if isinstance(curve, CurveServer):
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, curve.secret_key)
        socket.setsockopt_string(zmq.ZAP_DOMAIN, curve.domain)
        # Without a handler libzmq would let everyone in: with this a missing handler means no one.
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    elif isinstance(curve, CurveClient):
        socket.setsockopt(zmq.CURVE_SERVERKEY, curve.server_key)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, curve.public_key)
        socket.setsockopt(zmq.CURVE_SECRETKEY, curve.secret_key)


def port_of(socket: zmq.Socket[bytes]) -> int:
    """The TCP port that a socket bound to `tcp://HOST:0` was given."""
    endpoint = socket.getsockopt_string(zmq.LAST_ENDPOINT)
    return int(endpoint.rpartition(":")[2])
