"""The ZAP handler (RFC 27): libzmq asks it about every CURVE handshake, and it asks the gate.

It runs on the event loop, beside the socket it guards: one handshake is one small message. What the watched socket
reports of its connections is read here too, and always before a request is judged, so that the gate counts the very
connection that asks.
"""

import asyncio
import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable
from typing import Final

import zmq

from .gate import Gate, Reason
from .zmq_loop import LoopSocket
from .zmq_monitor import Change, PeerEvent

ENDPOINT: Final = "inproc://zeromq.zap.01"

_CHANGES: Final = {int(change.value): change for change in Change}
_FAILURES: Final[dict[Change, Reason]] = {Change.BROKEN_HANDSHAKE: "protocol", Change.FAILED_HANDSHAKE: "incomplete"}


class ZapHandler:
    """Guards one listening socket of a context; there is one handler per context.

    Make it before the socket is bound, and close it before the socket is. It takes the socket's one monitor: what else
    wants to know of its connections gets every event through `on_event`. `clock` is monotonic, in seconds.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        watched: zmq.Socket[bytes],
        gate: Gate,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_event: Callable[[PeerEvent], None] | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.gate = gate
        self._watched = watched
        self._clock = clock
        self._on_event = on_event
        replies = context.socket(zmq.REP)
        try:
            replies.setsockopt(zmq.LINGER, 0)
            replies.bind(ENDPOINT)
            events = _monitor(context, watched)
        except BaseException:
            replies.close(0)
            raise
        self._events = LoopSocket(events, on_message=self._event, loop=loop)
        self._requests = LoopSocket(replies, on_message=self._request, loop=loop)

    def ban(self, peer: str, seconds: float) -> None:
        """As `Gate.ban`, from now on."""
        self.gate.ban(peer, seconds, self._clock())

    def close(self) -> None:
        """Judge no more: with ZMQ_ZAP_ENFORCE_DOMAIN set, nobody gets in from now on."""
        if self._requests.closed:
            return
        self._requests.close(0)
        if not self._watched.closed:
            with contextlib.suppress(zmq.ZMQError):
                self._watched.disable_monitor()
        self._events.close(0)

    def _request(self, frames: list[bytes]) -> None:
        self._catch_up()
        verdict = self.gate.judge(frames, self._clock())
        self._requests.offer(verdict.reply(frames[1] if len(frames) > 1 else b""))

    def _catch_up(self) -> None:
        pair = self._events.socket
        while not self._events.closed:
            try:
                frames = pair.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._event(frames)

    def _event(self, frames: list[bytes]) -> None:
        number, value = struct.unpack("=hi", frames[0])
        change = _CHANGES.get(number & 0xFFFF)
        if change is None:
            return
        event = PeerEvent(change, frames[1].decode("utf-8", "replace"), value)
        if change is Change.ACCEPTED:
            if not self.gate.opened(value, self._clock()):
                _hang_up(value, event.endpoint)
        elif change is Change.DISCONNECTED:
            self.gate.closed(value)
        elif change in _FAILURES:
            self.gate.refuse(_FAILURES[change])
        if self._on_event is not None:
            self._on_event(event)


def _monitor(context: zmq.Context[zmq.Socket[bytes]], watched: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
    endpoint = f"inproc://zap-monitor-{id(watched)}"
    watched.monitor(endpoint, sum(_CHANGES))
    pair = context.socket(zmq.PAIR)
    try:
        pair.setsockopt(zmq.LINGER, 0)
        # libzmq's I/O thread waits where a monitor's queue is full, and everybody's messages with it.
        pair.setsockopt(zmq.RCVHWM, 0)
        pair.connect(endpoint)
    except BaseException:
        pair.close(0)
        raise
    return pair


def _hang_up(connection: int, endpoint: str) -> None:
    """Shut a connection of libzmq's down, so that libzmq closes it: it has no option to refuse one.

    The descriptor may by now be another connection's; only one that came to the same port is shut, and its peer comes
    again.
    """
    try:
        copy = os.dup(connection)
    except OSError:
        return
    try:
        peer = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return
    with peer, contextlib.suppress(OSError):
        internet = peer.family in (socket.AF_INET, socket.AF_INET6)
        if internet and str(peer.getsockname()[1]) == endpoint.rpartition(":")[2]:
            peer.shutdown(socket.SHUT_RDWR)
