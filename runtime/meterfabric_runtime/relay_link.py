"""One connection to a relay, as producers and sink workers hold it: CURVE, HELLO, messages, and its end.

libzmq reconnects by itself, with back-off and jitter; each new connection needs a HELLO of its own, said as soon as the
handshake stands and said again while no WELCOME comes.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

import zmq

from meterfabric_protocol import message as m
from meterfabric_protocol.errors import Malformed
from meterfabric_runtime.curve import CurveKeys
from meterfabric_runtime.zmq_loop import LoopSocket
from meterfabric_runtime.zmq_monitor import Change, Monitor, PeerEvent
from meterfabric_runtime.zmq_options import Bounds, open_socket

log = logging.getLogger(__name__)

_HELLO_AGAIN = (0.5, 10.0)
"""First and longest pause before HELLO is said again, or a refused connection tried anew."""


@dataclass(frozen=True)
class HelloFrames:
    """A HELLO made for one session: its nonce, and the frames body, signature, chain."""

    nonce: bytes
    frames: tuple[bytes, bytes, bytes]


MakeHello = Callable[[bytes], HelloFrames | None]
"""(client's raw CURVE key) → HELLO for this session, None while there is no certificate."""


class RelayLink:
    """A DEALER to one relay. Callbacks come on the loop's thread."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        name: str,
        endpoint: str,
        server_key: bytes,
        make_hello: MakeHello,
        *,
        on_hello: Callable[[str, bytes], None],
        on_message: Callable[[str, m.Message, list[zmq.Frame]], None],
        on_lost: Callable[[str], None],
        bounds: Bounds,
        jitter: random.Random,
    ) -> None:
        """``server_key``: the relays' raw public CURVE key. ``on_hello(name, nonce)`` as a HELLO leaves."""
        self.name = name
        self.endpoint = endpoint
        self._make_hello = make_hello
        self._on_hello = on_hello
        self._on_message = on_message
        self._on_lost = on_lost
        self._jitter = jitter
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._pause = _HELLO_AGAIN[0]
        self._connected = False
        self.welcomed = False
        self._context = context
        self._server_key = server_key
        self._bounds = bounds
        self._closed = False
        self._connect()

    def _connect(self) -> None:
        # A key pair of its own for each: a session is known by it, and one that is refused leaves nothing behind.
        keys = CurveKeys.generate()
        self._public = keys.public
        curve = keys.client(self._server_key)
        socket = open_socket(self._context, zmq.DEALER, self._bounds, curve=curve, jitter=self._jitter)
        self._monitor = Monitor(socket, self._event)
        self._socket = LoopSocket(socket, on_frames=self._frames)
        socket.connect(self.endpoint)

    def _reconnect(self) -> None:
        self._disconnect()
        if not self._closed:
            self._connect()

    def _disconnect(self) -> None:
        self._connected = False
        self._monitor.close()
        self._socket.close()

    def send(self, message: m.Message, frames: m.Frames = ()) -> bool:
        """Hand a message to libzmq; False where the relay can't be given more now."""
        return self._socket.send([m.encode(message), *frames])

    def enrolled(self) -> None:
        """A certificate came: say HELLO if that is what was missing."""
        if self._connected and not self.welcomed:
            self._hello()

    def close(self) -> None:
        """Say goodbye and disconnect."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self.welcomed:
            self.send(m.Bye())
        self._disconnect()

    def _event(self, event: PeerEvent) -> None:
        if event.change is Change.READY:
            self._connected = True
            self._pause = _HELLO_AGAIN[0]
            self._hello()
        elif event.change is Change.DISCONNECTED:
            self._connected = False
            self._lost()
        elif event.change in (Change.REFUSED, Change.BROKEN_HANDSHAKE, Change.FAILED_HANDSHAKE):
            log.warning("the relay refused the connection", extra={"relay": self.name, "event": event.change.name})
            # libzmq gives such a connection up for good, so another socket has to try.
            self._later(self._reconnect)

    def _hello(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._socket.closed or not self._connected:
            return
        hello = self._make_hello(self._public)
        if hello is not None:
            self.welcomed = False
            self._on_hello(self.name, hello.nonce)
            self.send(m.Hello(), hello.frames)
        self._later(self._hello)

    def _later(self, action: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._pause * (0.5 + self._jitter.random()), action)
        self._pause = min(self._pause * 2, _HELLO_AGAIN[1])

    def _lost(self) -> None:
        self.welcomed = False
        self._on_lost(self.name)

    def _frames(self, frames: list[zmq.Frame]) -> None:
        try:
            message = m.decode(frames[0].buffer, len(frames) - 1)
        except Malformed as error:
            log.warning("unreadable message from a relay", extra={"relay": self.name, "reason": str(error)})
            return
        if isinstance(message, m.Welcome):
            self.welcomed = True
            self._pause = _HELLO_AGAIN[0]
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        elif isinstance(message, m.Refused):
            self.welcomed = False
            if self._timer is None:
                self._later(self._hello)
        elif isinstance(message, m.Ping):
            return
        self._on_message(self.name, message, frames[1:])
