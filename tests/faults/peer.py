"""A peer that speaks to a relay by hand, rightly or wrongly."""

from __future__ import annotations

import secrets
import time
from typing import TypeVar

import zmq
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_protocol import message as m
from meterfabric_protocol.delivery import answer as answers
from meterfabric_protocol.hello import VERSION, HelloBody, sign_hello
from meterfabric_protocol.message import Target, Wish
from meterfabric_runtime.curve import CurveKeys
from tests.faults.fabric import Fabric
from tests.faults.process import PATIENCE, Process

M = TypeVar("M", bound=m.Message)


class Peer:
    """One CURVE connection to a relay. Use as a context."""

    def __init__(self, fabric: Fabric, relay: Process) -> None:
        self.curve = CurveKeys.generate()
        self.nonce = secrets.token_bytes(16)
        self._server = fabric.curve.public
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        keys = self.curve.client(self._server)
        self._socket.curve_serverkey = keys.server_key
        self._socket.curve_publickey = keys.public_key
        self._socket.curve_secretkey = keys.secret_key
        self._events = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._socket.connect(f"tcp://127.0.0.1:{relay.settings['port']}")

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.disable_monitor()
        self._events.close(0)
        self._socket.close(0)
        self._context.term()

    def hello(self, key: Ed25519PrivateKey, chain: bytes, name: str) -> tuple[bytes, bytes, bytes]:
        """The frames of a HELLO as a producer of this name makes it for this very connection."""
        body = HelloBody(
            VERSION, "producer", name, self.curve.public, self._server, self.nonce, "", 0, int(time.time())
        )
        return (*sign_hello(body, key), chain)

    def send(self, message: m.Message, *frames: bytes) -> None:
        """Send a message."""
        self._socket.send_multipart([m.encode(message), *frames])

    def send_raw(self, *frames: bytes) -> None:
        """Send frames as they are."""
        self._socket.send_multipart(frames)

    def expect(self, kind: type[M]) -> tuple[M, list[bytes]]:
        """The next message of this kind, and its frames; others are passed over."""
        deadline = time.monotonic() + PATIENCE
        while self._socket.poll(max(0, int((deadline - time.monotonic()) * 1000))):
            envelope, *frames = self._socket.recv_multipart()
            message = m.decode(envelope, len(frames))
            if isinstance(message, kind):
                return message, frames
        raise AssertionError(f"no {kind.__name__} came")

    def welcomed(self, key: Ed25519PrivateKey, chain: bytes, name: str) -> None:
        """Say a right HELLO, and be let in."""
        self.send(m.Hello(), *self.hello(key, chain, name))
        self.expect(m.Welcome)

    def refused(self) -> str:
        """The reason of the refusal that comes now."""
        return self.expect(m.Refused)[0].reason

    def hung_up(self) -> bool:
        """Whether the relay ends the connection."""
        return bool(self._events.poll(int(PATIENCE * 1000)))

    def granted(self, sink: str, total: int) -> None:
        """Ask for credit, and get it."""
        self.send(m.Want({sink: Wish(total, total)}))
        while self.expect(m.Grant)[0].total < total:
            continue

    def deliver(self, sink: str, origin: str, *frames: bytes) -> answers.Answer:
        """Send a batch under credit; the sink's answer."""
        self.granted(sink, 1 << 20)
        self.send(m.Batch(origin, (Target(sink, 0),)), *frames)
        return answers.read(self.expect(m.Answered)[1][0])
